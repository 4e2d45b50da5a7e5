//! [`Check`]: looks through a message on the wire before anything is decoded, so that what is decoded is bounded and wholly known.

use prost_reflect::prost::encoding::{WireType, decode_key, decode_varint};
use prost_reflect::{DescriptorPool, Kind, MessageDescriptor};

use crate::exchange::Omission;

/// Messages within messages, those in an `Any` included. Readers of JSON accept 128 levels, and a message in a list is two.
const DEPTH_MAX: usize = 60;
/// Bytes of JSON that a value is taken to need at least: a digit, a name of three letters and what stands around them.
///
/// `body_bytes_max` bounds the text and not what it is made of: decoded, a value of a list takes 56 bytes and the map of a message
/// 700, so that 1 MiB of packed booleans would be 60 MiB. So no more values are decoded than fill the text at this size, which
/// takes some 20 times `body_bytes_max`, for one body at a time.
const VALUE_BYTES: usize = 8;
/// What a message counts as, beside its fields.
const MESSAGE_VALUES: usize = 8;

/// Looks through the messages of one content.
pub(super) struct Check<'d> {
    message: &'d MessageDescriptor,
    pool: &'d DescriptorPool,
    values_left: usize,
}

impl<'d> Check<'d> {
    pub(super) fn new(message: &'d MessageDescriptor, bytes_max: usize) -> Self {
        // A single message is never refused for what it counts as.
        let values_left = bytes_max / VALUE_BYTES + values_of(message);
        Self { message, pool: message.parent_pool(), values_left }
    }

    /// Checks one more message.
    pub(super) fn message(&mut self, bytes: &[u8]) -> Result<(), Omission> {
        self.nested(bytes, self.message, 1)
    }

    fn nested(
        &mut self,
        mut bytes: &[u8],
        message: &MessageDescriptor,
        depth: usize,
    ) -> Result<(), Omission> {
        if depth > DEPTH_MAX {
            return Err(Omission::OverLimit);
        }
        self.count(values_of(message))?;
        let mut any = (message.full_name() == "google.protobuf.Any").then(Any::default);
        while !bytes.is_empty() {
            let (number, wire) = decode_key(&mut bytes).map_err(|_| Omission::UnknownSchema)?;
            let (kind, is_list) = field(message, number).ok_or(Omission::UnknownSchema)?;
            let value = take(&mut bytes, wire).ok_or(Omission::UnknownSchema)?;
            match (wire, &kind) {
                (WireType::LengthDelimited, Kind::Message(inner)) => {
                    self.nested(value, inner, depth + 1)?;
                }
                (WireType::LengthDelimited, kind) if is_list => self.count(packed(kind, value))?,
                _ if is_list => self.count(1)?,
                _ if !has_json(message, value) => return Err(Omission::UnknownSchema),
                // Counted with its message.
                _ => {}
            }
            if let Some(any) = &mut any {
                any.set(number, value);
            }
        }
        match any {
            Some(Any { type_url, value }) => {
                let name = type_url.rsplit(|byte| *byte == b'/').next();
                let name = name.and_then(|name| str::from_utf8(name).ok());
                let inner = name.and_then(|name| self.pool.get_message_by_name(name));
                self.nested(value, &inner.ok_or(Omission::UnknownSchema)?, depth + 1)
            }
            None => Ok(()),
        }
    }

    fn count(&mut self, values: usize) -> Result<(), Omission> {
        self.values_left = self.values_left.checked_sub(values).ok_or(Omission::OverLimit)?;
        Ok(())
    }
}

/// The fields of a `google.protobuf.Any`; the last of each counts.
#[derive(Default)]
struct Any<'b> {
    type_url: &'b [u8],
    value: &'b [u8],
}

impl<'b> Any<'b> {
    fn set(&mut self, number: u32, value: &'b [u8]) {
        match number {
            1 => self.type_url = value,
            2 => self.value = value,
            _ => {}
        }
    }
}

fn values_of(message: &MessageDescriptor) -> usize {
    MESSAGE_VALUES + message.fields().len()
}

/// Returns what a field holds, and whether it holds many.
fn field(message: &MessageDescriptor, number: u32) -> Option<(Kind, bool)> {
    let field = message.get_field(number).map(|field| (field.kind(), field.is_list()));
    let extension = || message.get_extension(number).map(|field| (field.kind(), field.is_list()));
    field.or_else(extension)
}

/// Takes the value of a field, a length before it removed. Groups, which proto3 does not have, are not known.
fn take<'b>(bytes: &mut &'b [u8], wire: WireType) -> Option<&'b [u8]> {
    let length = match wire {
        WireType::Varint => {
            let mut rest = *bytes;
            decode_varint(&mut rest).ok()?;
            bytes.len() - rest.len()
        }
        WireType::SixtyFourBit => 8,
        WireType::ThirtyTwoBit => 4,
        WireType::LengthDelimited => usize::try_from(decode_varint(bytes).ok()?).ok()?,
        WireType::StartGroup | WireType::EndGroup => return None,
    };
    let (value, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(value)
}

/// Returns how many values a field with a length holds: many where it is a packed list.
fn packed(kind: &Kind, value: &[u8]) -> usize {
    match kind {
        Kind::String | Kind::Bytes | Kind::Message(_) => 1,
        Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => value.len() / 8,
        Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => value.len() / 4,
        // The last byte of each has its highest bit clear.
        _ => value.iter().filter(|byte| **byte < 0x80).count(),
    }
}

/// Returns whether a number has a JSON form. In its wrapper, one that is not finite would become null; elsewhere it is a text.
fn has_json(message: &MessageDescriptor, value: &[u8]) -> bool {
    match (message.full_name(), value.as_array::<4>(), value.as_array::<8>()) {
        ("google.protobuf.FloatValue", Some(bytes), _) => f32::from_le_bytes(*bytes).is_finite(),
        ("google.protobuf.DoubleValue", _, Some(bytes)) => f64::from_le_bytes(*bytes).is_finite(),
        _ => true,
    }
}
