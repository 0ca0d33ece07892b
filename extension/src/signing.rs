//! How a signed request's parts are written: base64url, hexadecimal, the browser's name. Pure.

const BASE64URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// RFC 4648 5, without padding.
pub fn base64url(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |place: usize| u32::from(chunk.get(place).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..=chunk.len() {
            out.push(char::from(BASE64URL[(bits >> (18 - 6 * place) & 63) as usize]));
        }
    }
    out
}

/// Lower-case hexadecimal digits.
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}

/// `Firefox 153 on Windows`, from what a browser calls itself: how an administrator tells devices apart.
pub fn browser_name(user_agent: &str) -> String {
    // Each browser names those before it as well.
    let browsers = [("Edg/", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome")];
    let systems = [("Windows", "Windows"), ("Mac OS", "macOS"), ("CrOS", "ChromeOS"), ("Android", "Android"), ("Linux", "Linux")];
    let browser = browsers.iter().find_map(|(sign, name)| {
        let version = user_agent.split_once(sign)?.1;
        let major: String = version.chars().take_while(char::is_ascii_digit).take(6).collect();
        Some(format!("{name} {major}"))
    });
    let system = systems.iter().find(|(sign, _)| user_agent.contains(sign)).map_or("an unknown system", |(_, name)| name);
    format!("{} on {system}", browser.as_deref().unwrap_or("Browser"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4648 10, less the padding.
    #[test]
    fn base64url_is_the_standards() {
        for (bytes, expected) in [("", ""), ("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64url(bytes.as_bytes()), expected);
        }
        assert_eq!(base64url(&[0xfb, 0xff, 0xfe]), "-__-");
    }

    #[test]
    fn bytes_are_two_digits_each() {
        assert_eq!(hexadecimal(&[0, 9, 10, 255]), "00090aff");
    }

    #[test]
    fn browsers_are_known_by_name() {
        let check = |user_agent: &str, expected: &str| assert_eq!(browser_name(user_agent), expected);
        let chrome = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36";
        check(chrome, "Chrome 156 on Windows");
        check(&format!("{chrome} Edg/156.0.0.0"), "Edge 156 on Windows");
        check("Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Firefox/153.0", "Firefox 153 on Linux");
        check("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) Chrome/156.0.0.0", "Chrome 156 on macOS");
        check("", "Browser on an unknown system");
    }
}
