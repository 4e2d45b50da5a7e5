//! The descriptors and messages of a service that speaks gRPC.

use std::path::Path;

use prost_reflect::prost::Message;
use prost_reflect::prost_types::field_descriptor_proto::{Label, Type};
use prost_reflect::prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorProto, MethodDescriptorProto,
    ServiceDescriptorProto,
};
use prost_reflect::{DescriptorPool, DynamicMessage};

/// The one message: an amount and a currency.
const BOOKING: &str = "books.Booking";

/// Writes the descriptors and returns the line of `[recorder]` that names them.
pub(crate) fn write_descriptors(folder: &Path) -> String {
    std::fs::write(folder.join("books.pb"), pool().encode_to_vec()).unwrap();
    "grpc_descriptors = \"books.pb\"".into()
}

/// The methods `Book`, of one message each way, and `Stream`, of many.
fn pool() -> DescriptorPool {
    let field = |name: &str, number, of: Type| FieldDescriptorProto {
        name: Some(name.into()),
        number: Some(number),
        label: Some(Label::Optional.into()),
        r#type: Some(of.into()),
        ..FieldDescriptorProto::default()
    };
    let method = |name: &str, streaming| MethodDescriptorProto {
        name: Some(name.into()),
        input_type: Some(format!(".{BOOKING}")),
        output_type: Some(format!(".{BOOKING}")),
        client_streaming: Some(streaming),
        server_streaming: Some(streaming),
        options: None,
    };
    let file = FileDescriptorProto {
        name: Some("books.proto".into()),
        package: Some("books".into()),
        message_type: vec![DescriptorProto {
            name: Some("Booking".into()),
            field: vec![field("amount_minor", 1, Type::Int64), field("currency", 2, Type::String)],
            ..DescriptorProto::default()
        }],
        service: vec![ServiceDescriptorProto {
            name: Some("Ledger".into()),
            method: vec![method("Book", false), method("Stream", true)],
            options: None,
        }],
        syntax: Some("proto3".into()),
        ..FileDescriptorProto::default()
    };
    let mut pool = DescriptorPool::new();
    pool.add_file_descriptor_proto(file).unwrap();
    pool
}

/// Encodes a booking.
pub(crate) fn booking(amount_minor: i64, currency: &str) -> Vec<u8> {
    let json = format!(r#"{{"amountMinor":{amount_minor},"currency":"{currency}"}}"#);
    let of = pool().get_message_by_name(BOOKING).unwrap();
    let mut reader = serde_json::Deserializer::from_str(&json);
    DynamicMessage::deserialize(of, &mut reader).unwrap().encode_to_vec()
}

/// Returns the text under which a booking is recorded.
pub(crate) fn recorded(amount_minor: i64, currency: &str) -> String {
    format!(r#"{{"amountMinor":"{amount_minor}","currency":"{currency}"}}"#)
}

/// Puts a message into a frame; `is_compressed` is what the frame says of it.
pub(crate) fn frame(message: &[u8], is_compressed: bool) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[u8::from(is_compressed)], &length[..], message].concat()
}
