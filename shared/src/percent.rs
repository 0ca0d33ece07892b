//! Percent encoding (RFC 3986 2.1) over UTF-8, for URLs of both sides. Must stay free of the `url` crate: the panel carries this code.

/// Appends `text` with only the unreserved characters (letters, digits, `-`, `.`, `_`, `~`) left bare.
pub fn encode_into(out: &mut String, text: &str) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(DIGITS[usize::from(byte >> 4)]));
            out.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
    }
}

/// `text` percent-encoded: see [`encode_into`].
pub fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    encode_into(&mut out, text);
    out
}

/// The text behind a percent-encoded one; `+` stands for itself. `None` for a cut or wrong escape, or bytes that are not UTF-8.
pub fn decode(encoded: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            bytes.push(hexadecimal(rest.next()?)? << 4 | hexadecimal(rest.next()?)?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

/// Appends `name=value` to a query, with `&` before it unless the query begins here (after `?` or with nothing). The name is taken as it is.
pub fn append_pair(query: &mut String, name: &str, value: &str) {
    if !query.is_empty() && !query.ends_with('?') {
        query.push('&');
    }
    query.push_str(name);
    query.push('=');
    encode_into(query, value);
}

fn hexadecimal(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_unreserved_characters_stay_bare() {
        let check = |text, encoded| assert_eq!(encode(text), encoded);
        check("AZaz09-._~", "AZaz09-._~");
        check("John Smith", "John%20Smith");
        check("a+b&c=d/e?f#g", "a%2Bb%26c%3Dd%2Fe%3Ff%23g");
        check("!*'();:@$,[]%", "%21%2A%27%28%29%3B%3A%40%24%2C%5B%5D%25");
        check("ü€😀", "%C3%BC%E2%82%AC%F0%9F%98%80");
        check("\r\n\0", "%0D%0A%00");
    }

    #[test]
    fn decoding_refuses_what_is_no_text() {
        let check = |encoded, text: Option<&str>| assert_eq!(decode(encoded).as_deref(), text);
        check("a%2fb%2FC+", Some("a/b/C+"));
        check("%", None);
        check("%4", None);
        check("%4g", None);
        check("%+4", None);
        check("%ff", None);
    }

    proptest! {
        #[test]
        fn decoding_undoes_encoding(text in any::<String>()) {
            prop_assert_eq!(decode(&encode(&text)), Some(text));
        }

        #[test]
        fn a_query_reads_back_with_the_url_crate(values in prop::collection::vec(any::<String>(), 0..5)) {
            let mut query = String::new();
            for value in &values {
                append_pair(&mut query, "name", value);
            }
            let read: Vec<_> = url::form_urlencoded::parse(query.as_bytes()).map(|(_, value)| value.into_owned()).collect();
            prop_assert_eq!(read, values);
        }
    }
}
