//! Why a bucket did not do what it was asked.

use std::error::Error;
use std::time::Duration;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

/// What went wrong.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BucketError {
    /// The object does not exist.
    #[error("there is no such object")]
    Missing,
    /// An object that is written once is there already.
    #[error("the object is there already")]
    Exists,
    /// The credentials, or what they allow.
    #[error(
        "the bucket refuses it ({status} {code}): check the credentials, what they allow, and the clock"
    )]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The server's word for it.
        code: String,
    },
    /// The server answered with an error.
    #[error("the bucket answered {status} {code}: {message}")]
    Answered {
        /// The HTTP status.
        status: u16,
        /// The server's word for it.
        code: String,
        /// The server's sentence.
        message: String,
    },
    /// There was no answer: no connection, no credentials, or none in time.
    #[error("the bucket was not reached: {0}")]
    Unreached(String),
    /// The body of the answer ended before its end.
    #[error("the bucket's answer broke off: {0}")]
    BrokenOff(String),
    /// The body of the answer took too long.
    #[error(
        "the bucket's answer took longer than {0:?}: `attempt_timeout` in [store] says how long it may"
    )]
    TooSlow(Duration),
    /// What was read is not what was written.
    #[error(
        "its content was changed: it was written with the SHA-256 {written}, and what came has {found}"
    )]
    Damaged {
        /// The digest of what came.
        found: String,
        /// The digest that was written with it.
        written: String,
    },
}

impl BucketError {
    /// A body that ended too early.
    pub(super) fn broken_off(error: &(dyn Error + 'static)) -> Self {
        Self::BrokenOff(chain(error))
    }
}

impl<E> From<SdkError<E, HttpResponse>> for BucketError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    fn from(error: SdkError<E, HttpResponse>) -> Self {
        let SdkError::ServiceError(service) = &error else {
            return Self::Unreached(chain(&error));
        };
        let status = service.raw().status().as_u16();
        let code = service.err().code().unwrap_or_default().to_owned();
        let message = service.err().message().unwrap_or("it does not say why").to_owned();
        match status {
            // A bucket that is missing is no missing object. A HEAD has no body, and so no word.
            404 if ["", "NoSuchKey", "NotFound"].contains(&&*code) => Self::Missing,
            412 => Self::Exists,
            401 | 403 => Self::Refused { status, code },
            _ => Self::Answered { status, code, message },
        }
    }
}

/// Returns what the error and its causes say.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        // Many wrappers repeat what they wrap.
        if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
        source = error.source();
    }
    text
}
