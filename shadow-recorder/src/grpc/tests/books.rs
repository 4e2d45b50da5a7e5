//! The descriptors of a service that books, made by hand, and messages written by hand.

use prost_reflect::DescriptorPool;
use prost_reflect::prost_types::field_descriptor_proto::{Label, Type};
use prost_reflect::prost_types::{
    DescriptorProto, EnumDescriptorProto, EnumValueDescriptorProto, FieldDescriptorProto,
    FileDescriptorProto, MessageOptions, MethodDescriptorProto, OneofDescriptorProto,
    ServiceDescriptorProto,
};

/// The set that `protoc --include_imports` would write.
///
/// ```text
/// message Entry {
///   int64 amount_minor = 1;  bytes signature = 2;  Side side = 3;  map<string, int64> balances = 4;  repeated int32 tags = 5;
///   oneof reference { string invoice = 6;  uint64 trip = 7; }
///   Timestamp booked_at = 8;  Line nested = 9;  string decimal = 10;  optional int64 discount = 11;  double rate = 12;
///   float weight = 13;  Any detail = 14;  DoubleValue factor = 15;  Int64Value fee = 16;  repeated Line lines = 17;
///   repeated Entry within = 18;
/// }
/// message Line { int64 amount = 1;  Side side = 2; }
/// enum Side { SIDE_UNSPECIFIED = 0;  DEBIT = 1;  CREDIT = 2; }
/// service Ledger {
///   rpc Book(Entry) returns (Entry);  rpc Watch(Entry) returns (stream Entry);  rpc Post(stream Entry) returns (Entry);
/// }
/// ```
pub(super) fn pool() -> DescriptorPool {
    let known =
        ["any", "timestamp", "wrappers"].map(|name| format!("google/protobuf/{name}.proto"));
    let books = FileDescriptorProto {
        name: Some("books.proto".into()),
        package: Some("books".into()),
        dependency: known.to_vec(),
        message_type: vec![entry(), line()],
        enum_type: vec![names("Side", &["SIDE_UNSPECIFIED", "DEBIT", "CREDIT"])],
        service: vec![ServiceDescriptorProto {
            name: Some("Ledger".into()),
            method: vec![
                method("Book", false, false),
                method("Watch", false, true),
                method("Post", true, false),
            ],
            ..ServiceDescriptorProto::default()
        }],
        syntax: Some("proto3".into()),
        ..FileDescriptorProto::default()
    };
    let global = DescriptorPool::global();
    let imported =
        global.file_descriptor_protos().filter(|file| known.contains(&file.name().into()));
    let mut pool = DescriptorPool::new();
    pool.add_file_descriptor_protos(imported.cloned().chain([books])).unwrap();
    pool
}

fn entry() -> DescriptorProto {
    let google = |name: &str| Some(format!(".google.protobuf.{name}"));
    let books = |name: &str| Some(format!(".books.{name}"));
    let list = |field: FieldDescriptorProto| FieldDescriptorProto {
        label: Some(Label::Repeated.into()),
        ..field
    };
    let within = |oneof, field: FieldDescriptorProto| FieldDescriptorProto {
        oneof_index: Some(oneof),
        ..field
    };
    let discount = FieldDescriptorProto {
        proto3_optional: Some(true),
        ..field("discount", 11, Type::Int64, None)
    };
    let pair = DescriptorProto {
        name: Some("BalancesEntry".into()),
        field: vec![field("key", 1, Type::String, None), field("value", 2, Type::Int64, None)],
        options: Some(MessageOptions { map_entry: Some(true), ..MessageOptions::default() }),
        ..DescriptorProto::default()
    };
    let oneof = |name: &str| OneofDescriptorProto { name: Some(name.into()), options: None };
    DescriptorProto {
        name: Some("Entry".into()),
        field: vec![
            field("amount_minor", 1, Type::Int64, None),
            field("signature", 2, Type::Bytes, None),
            field("side", 3, Type::Enum, books("Side")),
            list(field("balances", 4, Type::Message, books("Entry.BalancesEntry"))),
            list(field("tags", 5, Type::Int32, None)),
            within(0, field("invoice", 6, Type::String, None)),
            within(0, field("trip", 7, Type::Uint64, None)),
            field("booked_at", 8, Type::Message, google("Timestamp")),
            field("nested", 9, Type::Message, books("Line")),
            field("decimal", 10, Type::String, None),
            within(1, discount),
            field("rate", 12, Type::Double, None),
            field("weight", 13, Type::Float, None),
            field("detail", 14, Type::Message, google("Any")),
            field("factor", 15, Type::Message, google("DoubleValue")),
            field("fee", 16, Type::Message, google("Int64Value")),
            list(field("lines", 17, Type::Message, books("Line"))),
            list(field("within", 18, Type::Message, books("Entry"))),
        ],
        nested_type: vec![pair],
        oneof_decl: vec![oneof("reference"), oneof("_discount")],
        ..DescriptorProto::default()
    }
}

fn line() -> DescriptorProto {
    DescriptorProto {
        name: Some("Line".into()),
        field: vec![
            field("amount", 1, Type::Int64, None),
            field("side", 2, Type::Enum, Some(".books.Side".into())),
        ],
        ..DescriptorProto::default()
    }
}

fn field(name: &str, number: i32, of: Type, type_name: Option<String>) -> FieldDescriptorProto {
    FieldDescriptorProto {
        name: Some(name.into()),
        number: Some(number),
        label: Some(Label::Optional.into()),
        r#type: Some(of.into()),
        type_name,
        ..FieldDescriptorProto::default()
    }
}

fn names(name: &str, values: &[&str]) -> EnumDescriptorProto {
    let value = |(number, name): (i32, &&str)| EnumValueDescriptorProto {
        name: Some((*name).into()),
        number: Some(number),
        options: None,
    };
    EnumDescriptorProto {
        name: Some(name.into()),
        value: (0..).zip(values).map(value).collect(),
        ..EnumDescriptorProto::default()
    }
}

fn method(name: &str, client_streaming: bool, server_streaming: bool) -> MethodDescriptorProto {
    MethodDescriptorProto {
        name: Some(name.into()),
        input_type: Some(".books.Entry".into()),
        output_type: Some(".books.Entry".into()),
        options: None,
        client_streaming: Some(client_streaming),
        server_streaming: Some(server_streaming),
    }
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut wire = Vec::new();
    while value >= 0x80 {
        wire.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    wire.push(value.to_le_bytes()[0]);
    wire
}

fn key(number: u32, wire: u32) -> Vec<u8> {
    varint(u64::from(number << 3 | wire))
}

/// A field with a number in it.
pub(super) fn uint(number: u32, value: u64) -> Vec<u8> {
    [key(number, 0), varint(value)].concat()
}

/// A field with bytes in it, or a message, or a packed list.
pub(super) fn bytes(number: u32, value: &[u8]) -> Vec<u8> {
    [key(number, 2), varint(value.len() as u64), value.to_vec()].concat()
}

/// A field with a text in it.
pub(super) fn text(number: u32, value: &str) -> Vec<u8> {
    bytes(number, value.as_bytes())
}

/// A field with a `double` in it.
pub(super) fn double(number: u32, value: f64) -> Vec<u8> {
    [key(number, 1), value.to_le_bytes().to_vec()].concat()
}

/// A field with a `float` in it.
pub(super) fn float(number: u32, value: f32) -> Vec<u8> {
    [key(number, 5), value.to_le_bytes().to_vec()].concat()
}

/// The messages, each in a frame, not compressed.
pub(super) fn framed(messages: &[&[u8]]) -> Vec<u8> {
    let frame = |message: &&[u8]| {
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        [&[0], &length[..], message].concat()
    };
    messages.iter().flat_map(frame).collect()
}
