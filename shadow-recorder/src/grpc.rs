//! gRPC content as canonical JSON, by the service's own descriptors. Pure, and run by the writer alone.
//!
//! ```text
//! content = frame*
//! frame   = flag:u8 length:u32be message      flag 1: the message is compressed as `grpc-encoding` says
//! ```
//!
//! What cannot be rendered without loss is not rendered: a field that the descriptors do not name may hold money. Which JSON is
//! written is the format of an [`exchange`](crate::exchange). gRPC-Web is recorded as what it is to the recorder: binary.

mod check;

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use prost_reflect::{
    DescriptorError, DescriptorPool, DynamicMessage, MessageDescriptor, MethodDescriptor,
    SerializeOptions,
};

use crate::body;
use crate::exchange::{Omission, Rendering, header};
use check::Check;

const JSON: SerializeOptions = SerializeOptions::new().skip_default_fields(false);

/// How the messages of a gRPC call are carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Media {
    /// As Protocol Buffers.
    Protobuf,
    /// In another serialisation.
    Other,
    /// In the framing for browsers.
    Web,
}

/// Returns how a message carries gRPC; `None` where it does not.
pub fn media(headers: &[(String, String)]) -> Option<Media> {
    let value = header(headers, "content-type")?;
    let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.strip_prefix("application/grpc")? {
        "" | "+proto" => Some(Media::Protobuf),
        web if web.starts_with("-web") => Some(Media::Web),
        other if other.starts_with('+') => Some(Media::Other),
        _ => None,
    }
}

/// The methods of a service and of its upstreams, from a `FileDescriptorSet`.
#[derive(Clone)]
pub struct Descriptors {
    // By path: `/package.Service/Method`.
    methods: Arc<HashMap<String, Method>>,
}

impl fmt::Debug for Descriptors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Descriptors({} methods)", self.methods.len())
    }
}

/// Why descriptors cannot be used. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum DescriptorsError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}; {WRITE_IT}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not a sound set.
    #[error("{path} is not a whole set of descriptors: {source}; {WRITE_IT}")]
    Decode {
        /// The file.
        path: PathBuf,
        /// Why.
        source: DescriptorError,
    },
    /// The set has no method.
    #[error("{path} declares no service: {WRITE_IT}")]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

const WRITE_IT: &str = "write it with protoc --include_imports --descriptor_set_out=FILE, from the .proto files that declare the services";

impl Descriptors {
    /// Reads the file that `protoc --include_imports --descriptor_set_out` writes.
    pub fn load(path: &Path) -> Result<Self, DescriptorsError> {
        let bytes = std::fs::read(path)
            .map_err(|source| DescriptorsError::Read { path: path.into(), source })?;
        let pool = DescriptorPool::decode(&*bytes)
            .map_err(|source| DescriptorsError::Decode { path: path.into(), source })?;
        let descriptors = Self::of(&pool);
        if descriptors.methods.is_empty() {
            return Err(DescriptorsError::Empty { path: path.into() });
        }
        Ok(descriptors)
    }

    fn of(pool: &DescriptorPool) -> Self {
        let methods = pool.services().flat_map(|service| {
            let named = |method: MethodDescriptor| {
                let path = format!("/{}/{}", service.full_name(), method.name());
                (path, Method::of(&method))
            };
            service.methods().map(named).collect::<Vec<_>>()
        });
        Self { methods: Arc::new(methods.collect()) }
    }

    /// Returns what one side of a method sends; the method is named by the request's target.
    pub fn side(&self, target: &str, half: body::Half) -> Option<&Side> {
        let path = target.split('?').next().unwrap_or_default();
        let Method { request, answer } = self.methods.get(path)?;
        Some(match half {
            body::Half::Request => request,
            body::Half::Answer => answer,
        })
    }
}

#[derive(Debug)]
struct Method {
    request: Side,
    answer: Side,
}

/// What one side of a method sends.
#[derive(Clone, Debug)]
pub struct Side {
    message: MessageDescriptor,
    streams: bool,
}

impl Method {
    fn of(method: &MethodDescriptor) -> Self {
        Self {
            request: Side { message: method.input(), streams: method.is_client_streaming() },
            answer: Side { message: method.output(), streams: method.is_server_streaming() },
        }
    }
}

impl Side {
    /// Returns what a text of this side is.
    pub fn rendering(&self) -> Rendering {
        if self.streams { Rendering::GrpcStream } else { Rendering::GrpcMessage }
    }

    /// Renders the framed messages. `bytes_max` bounds what is decompressed, all messages together, and the text.
    pub fn text(
        &self,
        framed: &[u8],
        coding: Option<&str>,
        bytes_max: usize,
    ) -> Result<String, Omission> {
        let coding = coding.map(|coding| coding.trim().to_ascii_lowercase());
        let mut check = Check::new(&self.message, bytes_max);
        let mut text = String::new();
        let mut bytes_left = bytes_max;
        for (position, frame) in frames(framed).enumerate() {
            if position > 0 && !self.streams {
                // Two messages where the method has one.
                return Err(Omission::UnknownSchema);
            }
            let message = frame?.message(coding.as_deref(), bytes_left)?;
            bytes_left = bytes_left.saturating_sub(message.len());
            check.message(&message)?;
            text.push_str(&json(&self.message, &message)?);
            if self.streams {
                text.push('\n');
            }
            if text.len() > bytes_max {
                return Err(Omission::OverLimit);
            }
        }
        Ok(text)
    }
}

/// A message as it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Frame<'f> {
    is_compressed: bool,
    message: &'f [u8],
}

impl<'f> Frame<'f> {
    fn message(self, coding: Option<&str>, bytes_max: usize) -> Result<Cow<'f, [u8]>, Omission> {
        match coding {
            _ if !self.is_compressed => Ok(self.message.into()),
            Some("identity") => Ok(self.message.into()),
            Some(coding) => body::uncompressed(self.message, coding, bytes_max).map(Cow::from),
            None => Err(Omission::UnknownCoding),
        }
    }
}

/// Returns the frames of a content, up to the first that is not whole or sound.
fn frames(mut bytes: &[u8]) -> impl Iterator<Item = Result<Frame<'_>, Omission>> {
    std::iter::from_fn(move || {
        let frame = next(&mut bytes)?;
        if frame.is_err() {
            bytes = &[];
        }
        Some(frame)
    })
}

fn next<'f>(bytes: &mut &'f [u8]) -> Option<Result<Frame<'f>, Omission>> {
    if bytes.is_empty() {
        return None;
    }
    let whole = || {
        let ([flag, length @ ..], rest) = bytes.split_first_chunk::<5>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (message, rest) = rest.split_at_checked(length)?;
        Some((*flag, message, rest))
    };
    let Some((flag, message, rest)) = whole() else { return Some(Err(Omission::Truncated)) };
    *bytes = rest;
    Some(match flag {
        0 | 1 => Ok(Frame { is_compressed: flag == 1, message }),
        _ => Err(Omission::UnknownCoding),
    })
}

/// Renders a message that was checked.
fn json(descriptor: &MessageDescriptor, message: &[u8]) -> Result<String, Omission> {
    let unknown = |_| Omission::UnknownSchema;
    let message =
        DynamicMessage::decode(descriptor.clone(), message).map_err(|_| Omission::UnknownSchema)?;
    let mut value =
        message.serialize_with_options(serde_json::value::Serializer, &JSON).map_err(unknown)?;
    // The maps of a message have no order of their own. Elsewhere a crate may let JSON keep the order of insertion.
    value.sort_all_objects();
    serde_json::to_string(&value).map_err(unknown)
}

#[cfg(test)]
mod tests;
