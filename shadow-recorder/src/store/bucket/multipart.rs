//! A large object is sent in parts, of which each can be tried again alone. It appears when the upload is completed, not before.

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;

use super::{Bucket, BucketError, DIGEST, Writing};

/// S3 takes no more parts of one object.
const PARTS_MAX: u64 = 10_000;

impl Bucket {
    /// Sends the parts one after another. A part is a view of the whole, not a copy.
    pub(super) async fn write_in_parts(
        &self,
        key: &str,
        bytes: &Bytes,
        digest: &str,
        writing: Writing,
    ) -> Result<(), BucketError> {
        let create = self.client().await.create_multipart_upload();
        let created = create
            .bucket(&self.settings.bucket)
            .key(self.key(key))
            .metadata(DIGEST, digest)
            .set_server_side_encryption(self.settings.encryption.kind())
            .set_ssekms_key_id(self.settings.encryption.key_id())
            .send()
            .await?;
        let upload = created.upload_id.unwrap_or_default();
        let sent = async {
            let parts = self.send_parts(key, bytes, &upload).await?;
            self.complete(key, &upload, parts, writing).await
        };
        let sent = sent.await;
        if sent.is_err() {
            self.abort(key, &upload).await;
        }
        sent
    }

    async fn send_parts(
        &self,
        key: &str,
        bytes: &Bytes,
        upload: &str,
    ) -> Result<Vec<CompletedPart>, BucketError> {
        let size = self.settings.part_bytes.max((bytes.len() as u64).div_ceil(PARTS_MAX));
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let mut parts = Vec::new();
        let mut rest = bytes.clone();
        // Numbered from one.
        for number in 1.. {
            let part = rest.split_to(size.min(rest.len()));
            let sent = self.client().await.upload_part();
            let sent = sent
                .bucket(&self.settings.bucket)
                .key(self.key(key))
                .upload_id(upload)
                .part_number(number)
                .body(ByteStream::from(part))
                .send()
                .await?;
            let part = CompletedPart::builder().part_number(number).set_e_tag(sent.e_tag).build();
            parts.push(part);
            if rest.is_empty() {
                break;
            }
        }
        Ok(parts)
    }

    async fn complete(
        &self,
        key: &str,
        upload: &str,
        parts: Vec<CompletedPart>,
        writing: Writing,
    ) -> Result<(), BucketError> {
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let complete = self.client().await.complete_multipart_upload();
        complete
            .bucket(&self.settings.bucket)
            .key(self.key(key))
            .upload_id(upload)
            .multipart_upload(parts)
            .set_if_none_match(writing.if_none_match())
            .send()
            .await?;
        Ok(())
    }

    /// Lets the server forget the parts. Where this fails too, the bucket's lifecycle rule ends the upload.
    async fn abort(&self, key: &str, upload: &str) {
        let abort = self.client().await.abort_multipart_upload();
        let aborted =
            abort.bucket(&self.settings.bucket).key(self.key(key)).upload_id(upload).send().await;
        if let Err(error) = aborted {
            let error = BucketError::from(error);
            tracing::warn!(key, %error, "the parts of an upload that failed are left in the bucket");
        }
    }
}
