//! The copy of a message's head, or of its trailers, while it waits for the writer.
//!
//! It is made on the way of a request, so it is one allocation, filled by copying. Clones of the fields would look cheaper and are
//! not: each counts a reference on both threads, and each keeps the whole buffer alive that its connection reads into, 8 KiB to
//! 400 KiB for a hundred bytes. The connection then allocates another, and the limit on memory counts what is not there.

use http::HeaderMap;

use crate::redact;

/// A copy larger than needed by more than this gives the rest back: a bearer token can be longer than all that is kept.
const SPARE_BYTES_MAX: usize = 512;

/// Texts one after another: some that lead, then name and value of each field that may be recorded.
#[derive(Debug, Default)]
pub(crate) struct Head {
    // Each text is its length, four bytes, and its bytes.
    bytes: Vec<u8>,
}

impl Head {
    /// Copies the leading texts and the fields that may be recorded, in order.
    pub(crate) fn copy<const N: usize>(lead: [&str; N], headers: &HeaderMap) -> Self {
        let prefixed = |length: usize| 4 + length;
        let leading: usize = lead.iter().map(|text| prefixed(text.len())).sum();
        let fields = headers.iter().map(|(n, v)| prefixed(n.as_str().len()) + prefixed(v.len()));
        let mut head = Self { bytes: Vec::with_capacity(leading + fields.sum::<usize>()) };
        for text in lead {
            head.push(text.as_bytes());
        }
        for (name, value) in redact::kept(headers) {
            head.push(name.as_str().as_bytes());
            head.push(value.as_bytes());
        }
        if head.bytes.capacity() - head.bytes.len() > SPARE_BYTES_MAX {
            head.bytes.shrink_to_fit();
        }
        head
    }

    /// Returns the bytes of memory that it holds.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// Returns the leading texts and the fields, with values as ISO-8859-1 text.
    pub(crate) fn texts<const N: usize>(&self) -> ([String; N], Vec<(String, String)>) {
        let mut rest = &*self.bytes;
        let lead = std::array::from_fn(|_| {
            String::from_utf8_lossy(next(&mut rest).unwrap_or_default()).into_owned()
        });
        let latin1 = |text: Option<&[u8]>| text.map(redact::latin1);
        let pairs =
            std::iter::from_fn(|| Some((latin1(next(&mut rest))?, latin1(next(&mut rest))?)));
        (lead, pairs.collect())
    }

    fn push(&mut self, text: &[u8]) {
        // No buffer of hyper's holds 4 GiB.
        let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.extend_from_slice(text);
    }
}

fn next<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, tail) = rest.split_first_chunk()?;
    let (text, tail) = tail.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    *rest = tail;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    fn headers(fields: &[(String, Vec<u8>)]) -> HeaderMap {
        let parsed = fields.iter().map(|(name, value)| {
            (name.parse::<HeaderName>().unwrap(), HeaderValue::from_bytes(value).unwrap())
        });
        let mut headers = HeaderMap::new();
        for (name, value) in parsed {
            headers.append(name, value);
        }
        headers
    }

    #[test]
    fn a_dropped_credential_holds_no_memory() {
        let token = vec![b'x'; 10_000];
        let all = headers(&[("a".into(), b"1".to_vec()), ("authorization".into(), token)]);
        let head = Head::copy(["GET"], &all);
        assert!(head.memory_bytes() < 100, "{}", head.memory_bytes());
        let expected = (["GET".to_owned()], vec![("a".to_owned(), "1".to_owned())]);
        assert_eq!(head.texts(), expected);
    }

    proptest! {
        #[test]
        fn what_is_copied_is_what_is_recorded(
            target in "/[a-zé/?%]{0,40}",
            fields in prop::collection::vec(("[a-z]{1,3}(-token)?", prop::collection::vec(0x80_u8.., 0..40)), 0..20),
        ) {
            let headers = headers(&fields);
            let head = Head::copy(["POST", &target], &headers);
            prop_assert_eq!(head.texts(), (["POST".to_owned(), target], redact::recorded(&headers)));
        }
    }
}
