//! Prompts at which asterisks stand for a password.

/// In prompts without a colon. Parts of words, so that inflected forms are found.
const WORDS: [&str; 8] = ["pass", "kennwort", "secret", "contrase", "senha", "wachtwoord", "арол", "密码"];
/// Whatever the password's length.
const HIDDEN: &str = "***";

fn is_mask(character: char) -> bool {
    matches!(character, '*' | '•' | '●' | '∙' | '＊')
}

/// The line, with every password's asterisks replaced by three.
///
/// They are such where they end a line and follow a colon or question mark, in any language; and behind a word for password.
pub(super) fn without_length(line: &str) -> String {
    let lower = line.to_ascii_lowercase();
    let word_at = WORDS.iter().filter_map(|word| lower.find(word)).min();
    let (mut text, mut rest) = (String::with_capacity(line.len()), line);
    while let Some(at) = rest.find(is_mask) {
        let (before, masked) = rest.split_at(at);
        let (run, behind) = masked.split_at(masked.find(|character| !is_mask(character)).unwrap_or(masked.len()));
        text.push_str(before);
        let follows_question = before.trim_end().ends_with([':', '?', '：', '？']);
        let follows_word = word_at.is_some_and(|word_at| word_at < line.len() - masked.len());
        let is_password = if follows_word {
            let stands_alone = before.ends_with(char::is_whitespace) && run.chars().nth(1).is_some();
            (follows_question || stands_alone) && behind.chars().next().is_none_or(char::is_whitespace)
        } else {
            follows_question && behind.is_empty()
        };
        text.push_str(if is_password { HIDDEN } else { run });
        rest = behind;
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_a_password_is_not_told() {
        let table = [
            ("Password: *", "Password: ***"),
            ("Password: ***********", "Password: ***"),
            ("Neues Kennwort eingeben:********", "Neues Kennwort eingeben:***"),
            ("? Enter your passphrase ••••••••", "? Enter your passphrase ***"),
            ("Mot de passe : ****** ok", "Mot de passe : *** ok"),
            ("PIN: ****", "PIN: ***"),
            ("Введите пароль ●●●●●", "Введите пароль ***"),
            ("请输入密码：＊＊＊＊＊＊", "请输入密码：***"),
            ("[sudo] password for anna: *****", "[sudo] password for anna: ***"),
            ("Old password: ***** New password: *******", "Old password: *** New password: ***"),
        ];
        for (line, expected) in table {
            assert_eq!(without_length(line), expected, "{line:?}");
        }
    }

    #[test]
    fn other_asterisks_stay() {
        for line in [
            "",
            "$ rm -rf *",
            "$ grep password *",
            "$ ls **/*.rs",
            "**********",
            "Note: ** read this **",
            "*** done: 5 ***",
            "password: *.txt",
            "passwords **bold** text",
        ] {
            assert_eq!(without_length(line), line);
        }
    }
}
