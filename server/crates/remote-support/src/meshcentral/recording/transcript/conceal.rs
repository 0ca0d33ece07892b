//! Text that a terminal draws invisibly (SGR 8), as scripts do while a password is typed. The terminal's parser does not know it.

/// Longer sequences are not meant for a terminal.
const MAX_PARAMETERS: usize = 256;

/// Follows a terminal's output.
#[derive(Default)]
pub(super) struct Conceal {
    is_on: bool,
    within: Within,
}

#[derive(Default)]
enum Within {
    #[default]
    Text,
    Escape,
    Parameters(String),
}

impl Conceal {
    /// Whether what is drawn now is invisible.
    pub(super) fn is_on(&self) -> bool {
        self.is_on
    }

    pub(super) fn read(&mut self, character: char) {
        self.within = match (std::mem::take(&mut self.within), character) {
            (_, '\u{1b}') => Within::Escape,
            (_, '\u{9b}') | (Within::Escape, '[') => Within::Parameters(String::new()),
            (Within::Escape, 'c') => {
                self.is_on = false; // The terminal is reset.
                Within::Text
            }
            (Within::Parameters(mut parameters), '0'..='9' | ';' | ':') if parameters.len() < MAX_PARAMETERS => {
                parameters.push(character);
                Within::Parameters(parameters)
            }
            (Within::Parameters(parameters), 'm') => {
                self.apply(&parameters);
                Within::Text
            }
            // Control characters take effect within a sequence.
            (within @ Within::Parameters(_), '\u{0}'..='\u{1f}') => within,
            _ => Within::Text,
        };
    }

    fn apply(&mut self, parameters: &str) {
        let mut parameters = parameters.split(';');
        while let Some(parameter) = parameters.next() {
            match parameter.trim_start_matches('0') {
                "" | "28" => self.is_on = false,
                "8" => self.is_on = true,
                // Colours: the numbers that follow are of the colour.
                "38" | "48" | "58" => match parameters.next() {
                    Some("5") => _ = parameters.next(),
                    Some("2") => _ = parameters.nth(2),
                    _ => {}
                },
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invisible_text() {
        let table = [
            ("", false),
            ("8m", false),
            ("\u{1b}[8m", true),
            ("\u{1b}[1;8;31m", true),
            ("\u{1b}[08m", true),
            ("\u{9b}8m", true),
            ("\u{1b}[8\rm", true),
            ("\u{1b}[8m\u{1b}[28m", false),
            ("\u{1b}[8m\u{1b}[0m", false),
            ("\u{1b}[8m\u{1b}[m", false),
            ("\u{1b}[8m\u{1b}c", false),
            ("\u{1b}[8m\u{1b}[1m\u{1b}[8n\u{1b}[?25l text", true),
            ("\u{1b}[38;5;8m", false),
            ("\u{1b}[48;2;8;8;8m", false),
            ("\u{1b}[38;5;8;8m", true),
            ("\u{1b}[38:5:8m", false),
            ("\u{1b}[8;8H", false),
            ("\u{1b}[?8m", false),
        ];
        for (output, expected) in table {
            let mut conceal = Conceal::default();
            output.chars().for_each(|character| conceal.read(character));
            assert_eq!(conceal.is_on(), expected, "{output:?}");
        }
    }
}
