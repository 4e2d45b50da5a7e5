//! `[store]`: a directory, or a bucket.

use std::time::Duration;

use super::{Document, Table};
use crate::store::bucket::{Encryption, Settings};
use crate::store::{Store, is_key};

const KNOWN: [&str; 13] = [
    "directory",
    "bucket",
    "prefix",
    "endpoint",
    "region",
    "path_style",
    "server_side_encryption",
    "kms_key_id",
    "connect_timeout",
    "attempt_timeout",
    "attempts_max",
    "multipart_bytes",
    "part_bytes",
];

/// S3 takes no smaller part, but for the last.
const PART_BYTES_MIN: u64 = 5 << 20;

/// Takes `[store]`.
pub fn store(document: &Document<'_>) -> Option<Store> {
    let mut table = document.section("store");
    let directory = table.text("directory");
    let bucket = table.text("bucket");
    let store = match (directory, bucket) {
        (Some(directory), None) => {
            let keys: Vec<&str> = KNOWN[2..].iter().copied().filter(|key| table.has(key)).collect();
            if !keys.is_empty() {
                table.mistake(&format!("`{}` is for a `bucket`", keys.join("`, `")));
            }
            let _ = settings(&mut table, String::new());
            Some(Store::directory(document.resolve(&directory.value)))
        }
        (None, Some(bucket)) => {
            let settings = settings(&mut table, bucket.value.clone());
            if !is_bucket(&bucket.value) {
                table.mistake_at(&bucket, "`bucket` is the name alone: 3 to 63 letters, digits, `.` and `-`; a folder in it is its `prefix`, its server the `endpoint`");
            }
            Some(Store::bucket(settings))
        }
        (Some(_), Some(bucket)) => {
            table.mistake_at(
                &bucket,
                "`directory` and `bucket` are two stores: leave one of them out",
            );
            let _ = settings(&mut table, String::new());
            None
        }
        (None, None) => {
            table.missing("directory` or `bucket");
            let _ = settings(&mut table, String::new());
            None
        }
    };
    table.finish(&KNOWN);
    store
}

fn settings(table: &mut Table<'_, '_>, bucket: String) -> Settings {
    let (multipart, part) =
        (table.integer("multipart_bytes", 1), table.integer("part_bytes", PART_BYTES_MIN));
    let attempts = table.integer("attempts_max", 1);
    Settings {
        bucket,
        prefix: table.parsed("prefix", parse_prefix).unwrap_or_default(),
        endpoint: table.parsed("endpoint", parse_endpoint),
        region: table.text("region").map(|region| region.value),
        path_style: table.flag("path_style").unwrap_or(false),
        encryption: encryption(table),
        connect_timeout: table.duration("connect_timeout").unwrap_or(Duration::from_secs(5)),
        attempt_timeout: table.duration("attempt_timeout").unwrap_or(Duration::from_mins(1)),
        attempts_max: attempts.map_or(3, |attempts| u32::try_from(attempts).unwrap_or(u32::MAX)),
        multipart_bytes: multipart.unwrap_or(64 << 20),
        part_bytes: part.unwrap_or(16 << 20),
    }
}

fn encryption(table: &mut Table<'_, '_>) -> Encryption {
    let encryption = table.text("server_side_encryption");
    let key_id = table.text("kms_key_id");
    match encryption.as_ref().map(|kind| &*kind.value) {
        Some("aws:kms") => return Encryption::Kms(key_id.map(|key_id| key_id.value)),
        Some("AES256") | None => {}
        Some(_) => {
            if let Some(encryption) = &encryption {
                table.mistake_at(
                    encryption,
                    "`server_side_encryption` is \"AES256\" or \"aws:kms\"",
                );
            }
            return Encryption::OfBucket;
        }
    }
    if let Some(key_id) = key_id {
        table.mistake_at(&key_id, "`kms_key_id` needs server_side_encryption = \"aws:kms\"");
    }
    if encryption.is_some() { Encryption::Aes256 } else { Encryption::OfBucket }
}

fn parse_prefix(text: &str) -> Result<String, String> {
    let prefix = text.trim_end_matches('/');
    if is_key(prefix) {
        return Ok(format!("{prefix}/"));
    }
    Err(format!(
        "`{text}` is not a prefix: write names of letters, digits and ._=- with slashes between them"
    ))
}

fn parse_endpoint(text: &str) -> Result<String, String> {
    let wrong =
        || format!("`{text}` is not an endpoint: write http://HOST[:PORT] or https://HOST[:PORT]");
    let uri: http::Uri = text.parse().map_err(|_| wrong())?;
    let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
    let has_user = uri.authority().is_none_or(|authority| authority.as_str().contains('@'));
    if is_http && !has_user && uri.path() == "/" && uri.query().is_none() {
        Ok(text.into())
    } else {
        Err(wrong())
    }
}

fn is_bucket(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    (3..=63).contains(&name.len()) && name.bytes().all(allowed)
}
