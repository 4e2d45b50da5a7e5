//! A store in an S3-compatible bucket.
//!
//! Credentials come from the usual chain of the AWS SDK: environment, profile, web identity, container, instance. Requests are retried by
//! the SDK, with jitter; what reads a body retries the body as well. Servers differ, so that nothing rests on `If-None-Match` alone: an
//! object that is written once is looked for before.

use std::sync::Arc;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{RequestChecksumCalculation, ResponseChecksumValidation};
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::ServerSideEncryption;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::{Builder, tls};
use bytes::Bytes;
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use super::{Created, Entries};
use crate::clock;
use crate::digest::sha256;

mod error;
mod multipart;

pub use error::BucketError;

/// The metadata that says what the content's SHA-256 is.
const DIGEST: &str = "sha256";
/// What a server is content with that has no regions.
const REGION_ANY: &str = "us-east-1";
const RETRY_FIRST: Duration = Duration::from_millis(200);
/// The attempt timeout is for this much of a body; a larger one gets as much again for each.
const TIMED_BYTES: u64 = 16 << 20;

/// How a bucket is reached and written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The bucket's name.
    pub bucket: String,
    /// Put before every key: empty, or ending with a slash.
    pub prefix: String,
    /// The server, where it is not AWS.
    pub endpoint: Option<String>,
    /// The region; absent, that of the environment or the profile.
    pub region: Option<String>,
    /// Whether the bucket's name is a part of the path instead of the host.
    pub path_style: bool,
    /// How objects are encrypted where they lie.
    pub encryption: Encryption,
    /// How long a connection may take.
    pub connect_timeout: Duration,
    /// How long one attempt may take for each 16 MiB begun.
    pub attempt_timeout: Duration,
    /// Attempts of one request.
    pub attempts_max: u32,
    /// Objects above this size are sent in parts.
    pub multipart_bytes: u64,
    /// The size of a part.
    pub part_bytes: u64,
}

/// Server-side encryption.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Encryption {
    /// What the bucket does by itself.
    #[default]
    OfBucket,
    /// With a key of the server.
    Aes256,
    /// With a key of the key management service; absent, the account's own.
    Kms(Option<String>),
}

impl Encryption {
    fn kind(&self) -> Option<ServerSideEncryption> {
        match self {
            Self::OfBucket => None,
            Self::Aes256 => Some(ServerSideEncryption::Aes256),
            Self::Kms(_) => Some(ServerSideEncryption::AwsKms),
        }
    }

    fn key_id(&self) -> Option<String> {
        if let Self::Kms(key_id) = self { key_id.clone() } else { None }
    }
}

/// Whether an object may replace another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writing {
    Replacing,
    Once,
}

impl Writing {
    fn if_none_match(self) -> Option<String> {
        (self == Self::Once).then(|| "*".into())
    }
}

/// The bucket. Keys were checked before they come here.
#[derive(Clone, Debug)]
pub(super) struct Bucket {
    settings: Arc<Settings>,
    client: Arc<OnceCell<Client>>,
}

impl Bucket {
    pub(super) fn new(settings: Settings) -> Self {
        Self { settings: Arc::new(settings), client: Arc::default() }
    }

    pub(super) fn location(&self, key: &str) -> String {
        format!("s3://{}/{}", self.settings.bucket, self.key(key))
    }

    pub(super) fn prefix(&self) -> &str {
        &self.settings.prefix
    }

    fn key(&self, key: &str) -> String {
        format!("{}{key}", self.settings.prefix)
    }

    async fn client(&self) -> &Client {
        self.client.get_or_init(|| connect(&self.settings)).await
    }

    pub(super) async fn put(&self, key: &str, bytes: Bytes) -> Result<(), BucketError> {
        let digest = digest(&bytes).await;
        self.write(key, bytes, &digest, Writing::Replacing).await
    }

    pub(super) async fn create(&self, key: &str, bytes: Bytes) -> Result<Created, BucketError> {
        let digest = digest(&bytes).await;
        let created = |there: &str| {
            if there == digest { Created::Done } else { Created::Conflict }
        };
        match self.digest_of(key).await {
            Ok(Some(there)) => return Ok(created(&there)),
            // Who may write and not list is refused the question.
            Ok(None) | Err(BucketError::Refused { .. }) => {}
            Err(error) => return Err(error),
        }
        match self.write(key, bytes, &digest, Writing::Once).await {
            Ok(()) => Ok(Created::Done),
            // Also where an attempt succeeded of which the answer was lost.
            Err(BucketError::Exists) => {
                let there = self.digest_of(key).await?;
                there.map(|there| created(&there)).ok_or(BucketError::Exists)
            }
            Err(error) => Err(error),
        }
    }

    async fn write(
        &self,
        key: &str,
        bytes: Bytes,
        digest: &str,
        writing: Writing,
    ) -> Result<(), BucketError> {
        if bytes.len() as u64 > self.settings.multipart_bytes {
            return self.write_in_parts(key, &bytes, digest, writing).await;
        }
        let allowed = self.allowed(bytes.len() as u64);
        let config =
            aws_sdk_s3::Config::builder().timeout_config(timeouts(&self.settings, allowed));
        let put = self.client().await.put_object();
        put.bucket(&self.settings.bucket)
            .key(self.key(key))
            .metadata(DIGEST, digest)
            .set_server_side_encryption(self.settings.encryption.kind())
            .set_ssekms_key_id(self.settings.encryption.key_id())
            .set_if_none_match(writing.if_none_match())
            .body(ByteStream::from(bytes))
            .customize()
            .config_override(config)
            .send()
            .await?;
        Ok(())
    }

    /// Returns the digest of an object; `None` where there is none.
    async fn digest_of(&self, key: &str) -> Result<Option<String>, BucketError> {
        let head = self.client().await.head_object();
        let head = head.bucket(&self.settings.bucket).key(self.key(key)).send().await;
        match head.map_err(BucketError::from) {
            Ok(head) => match head.metadata.and_then(|mut metadata| metadata.remove(DIGEST)) {
                Some(digest) => Ok(Some(digest)),
                // Another tool put it there.
                None => Ok(Some(sha256(self.get(key).await?))),
            },
            Err(BucketError::Missing) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn get(&self, key: &str) -> Result<Vec<u8>, BucketError> {
        let (mut attempt, mut wait) = (1, RETRY_FIRST);
        loop {
            let object = self.client().await.get_object();
            let object = object.bucket(&self.settings.bucket).key(self.key(key)).send().await?;
            match self.read(object).await {
                Err(error) if attempt >= self.settings.attempts_max => return Err(error),
                Err(error) => tracing::debug!(key, %error, "reads an object again"),
                Ok(bytes) => return Ok(bytes),
            }
            sleep(clock::jittered(wait)).await;
            (attempt, wait) = (attempt + 1, wait * 2);
        }
    }

    /// Reads a body to its end and holds it against the digest that was written with it.
    async fn read(&self, object: GetObjectOutput) -> Result<Vec<u8>, BucketError> {
        let length = object.content_length.and_then(|length| u64::try_from(length).ok());
        let written = object.metadata.and_then(|mut metadata| metadata.remove(DIGEST));
        let mut body = object.body;
        let whole = async {
            let mut bytes = Vec::with_capacity(capacity(length));
            while let Some(chunk) = body.next().await {
                bytes.extend_from_slice(&chunk.map_err(|error| BucketError::broken_off(&error))?);
            }
            Ok::<_, BucketError>(bytes)
        };
        let allowed = self.allowed(length.unwrap_or(0));
        let bytes = timeout(allowed, whole).await.map_err(|_| BucketError::TooSlow(allowed))??;
        if let Some(written) = written {
            let (bytes, found) = hashed(bytes).await;
            if found != written {
                return Err(BucketError::Damaged { found, written });
            }
            return Ok(bytes);
        }
        Ok(bytes)
    }

    pub(super) async fn remove(&self, key: &str) -> Result<(), BucketError> {
        let delete = self.client().await.delete_object();
        match delete.bucket(&self.settings.bucket).key(self.key(key)).send().await {
            Ok(_) => Ok(()),
            Err(error) => match BucketError::from(error) {
                BucketError::Missing => Ok(()),
                error => Err(error),
            },
        }
    }

    pub(super) async fn entries(&self, prefix: &str) -> Result<Entries, BucketError> {
        let list = self.client().await.list_objects_v2();
        let list = list.bucket(&self.settings.bucket).prefix(self.key(prefix)).delimiter("/");
        let mut pages = list.into_paginator().send();
        let mut found = Entries::default();
        let own = |key: Option<String>| {
            key.and_then(|key| key.strip_prefix(&self.settings.prefix).map(str::to_owned))
        };
        while let Some(page) = pages.next().await {
            let page = page?;
            let objects = page.contents.unwrap_or_default().into_iter();
            // A tool that shows folders puts an empty object with the folder's own name there.
            found
                .objects
                .extend(objects.filter_map(|object| own(object.key)).filter(|k| k != prefix));
            let folders = page.common_prefixes.unwrap_or_default().into_iter();
            found.folders.extend(folders.filter_map(|folder| own(folder.prefix)));
        }
        Ok(found)
    }

    /// Returns how long an attempt may take with so many bytes.
    fn allowed(&self, bytes: u64) -> Duration {
        let times = u32::try_from(bytes / TIMED_BYTES).unwrap_or(u32::MAX).saturating_add(1);
        self.settings.attempt_timeout.saturating_mul(times)
    }
}

/// Makes the client. Nothing is asked of the bucket yet.
async fn connect(settings: &Settings) -> Client {
    let http = Builder::new().tls_provider(tls::Provider::Rustls(CryptoMode::Ring)).build_https();
    let mut shared = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .http_client(http)
        .retry_config(RetryConfig::standard().with_max_attempts(settings.attempts_max))
        .timeout_config(timeouts(settings, settings.attempt_timeout));
    if let Some(region) = settings.region.clone() {
        shared = shared.region(Region::new(region));
    }
    if let Some(endpoint) = &settings.endpoint {
        shared = shared.endpoint_url(endpoint);
    }
    let shared = shared.load().await;
    let mut config = aws_sdk_s3::config::Builder::from(&shared)
        .force_path_style(settings.path_style)
        // The signature holds a digest of what is sent, and what is read is held against our own: both on every server.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    if shared.region().is_none() && settings.endpoint.is_some() {
        config = config.region(Region::new(REGION_ANY));
    }
    Client::from_conf(config.build())
}

fn timeouts(settings: &Settings, attempt: Duration) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(settings.connect_timeout)
        .operation_attempt_timeout(attempt)
        .build()
}

/// What a server says of a length is not believed beyond this before it is there.
fn capacity(length: Option<u64>) -> usize {
    usize::try_from(length.unwrap_or(0).min(128 << 20)).unwrap_or(0)
}

/// Returns the SHA-256, reckoned by another thread: this one may have deadlines to keep.
async fn digest(bytes: &Bytes) -> String {
    let bytes = bytes.clone();
    spawn_blocking(move || sha256(&bytes)).await.expect("a digest does not panic")
}

async fn hashed(bytes: Vec<u8>) -> (Vec<u8>, String) {
    let hashed = spawn_blocking(move || {
        let digest = sha256(&bytes);
        (bytes, digest)
    });
    hashed.await.expect("a digest does not panic")
}
