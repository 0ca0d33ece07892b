//! Makes a report fit where it is written.
//!
//! Zendesk silently cuts a comment after 64 kB (zendesk.md d.3), which would leave broken HTML and lose the end. So a
//! long report is rendered again with fewer entries, then with shorter texts, until it fits, and goes along as a file
//! in full. HTML is never cut: what the template is given is, and at the very last the document made from it.

use deskbridge_core::note::Attachment;

use super::TemplateFault;
use deskbridge_documents::Limit;

/// A note that fits, and the whole report where it had to be shortened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FittedNote {
    /// At most as long as the limit says.
    pub body: String,
    /// The whole; present where `body` is not all of it.
    pub attachment: Option<Attachment>,
}

/// What a context leaves out. The default leaves out nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Shortening {
    /// Entries of the transcript kept, first and last ones.
    pub(super) entries: Option<usize>,
    /// Characters of any one text.
    pub(super) characters: Option<usize>,
    /// Names and times only.
    pub(super) essentials_only: bool,
    /// The file with everything.
    pub(super) attached_file: Option<String>,
}

impl Shortening {
    /// The least there is.
    pub(super) fn essentials(attached_file: &str) -> Self {
        let attached_file = Some(attached_file.to_owned());
        Self { entries: Some(0), characters: Some(ESSENTIAL_CHARACTERS), essentials_only: true, attached_file }
    }
}

/// Texts are cut to these lengths, one after the other, when leaving out entries is not enough.
const TEXT_STEPS: [Option<usize>; 3] = [None, Some(2000), Some(300)];
/// With that many entries (or all) a transcript is worth reading, so that texts stay as they are.
const ENOUGH_ENTRIES: usize = 50;
const ESSENTIAL_CHARACTERS: usize = 100;

/// The longest form that fits, found by rendering (`None`: too much to render); `None` where even the essentials do not.
pub(super) fn fit(
    limit: Limit,
    entries: usize,
    attached_file: &str,
    render: impl Fn(&Shortening) -> Result<Option<String>, TemplateFault>,
) -> Result<Option<String>, TemplateFault> {
    let attempt = |shortening: Shortening| -> Result<Option<String>, TemplateFault> {
        let body = render(&Shortening { attached_file: Some(attached_file.to_owned()), ..shortening })?;
        Ok(body.filter(|body| limit.takes(body)))
    };
    let mut best: Option<(usize, String)> = None;
    for characters in TEXT_STEPS {
        let with = |kept: usize| Shortening { entries: Some(kept), characters, ..Shortening::default() };
        let Some(mut body) = attempt(with(0))? else {
            continue;
        };
        // More entries make a longer note: doubling finds a number that is too many without rendering notes much longer
        // than allowed, and halving the most that fit.
        let (mut fits, mut too_many) = (0, entries + 1);
        let mut doubling = true;
        while fits + 1 < too_many {
            let next = if doubling { (fits * 2).clamp(1, entries) } else { usize::midpoint(fits, too_many) };
            if let Some(longer) = attempt(with(next))? {
                (fits, body) = (next, longer);
            } else {
                (too_many, doubling) = (next, false);
            }
        }
        if best.as_ref().is_none_or(|(kept, _)| fits > *kept) {
            best = Some((fits, body));
        }
        if fits >= entries.min(ENOUGH_ENTRIES) {
            break;
        }
    }
    if let Some((_, body)) = best {
        return Ok(Some(body));
    }
    attempt(Shortening::essentials(attached_file))
}

/// A file name from an lsid, whatever is in it.
pub(super) fn file_stem(lsid: &str) -> String {
    let safe: String =
        lsid.chars().filter(|character| character.is_ascii_alphanumeric() || matches!(character, '-' | '_')).take(64).collect();
    format!("session-{safe}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use deskbridge_documents::Measure;
    use proptest::prelude::*;

    /// Each entry is `size` characters long; the head ten.
    fn render(sizes: &[usize]) -> impl Fn(&Shortening) -> Result<Option<String>, TemplateFault> {
        move |shortening| {
            if shortening.essentials_only {
                return Ok(Some("essential".to_owned()));
            }
            let kept = shortening.entries.unwrap_or(sizes.len());
            let cut = |size: &usize| "x".repeat((*size).min(shortening.characters.unwrap_or(usize::MAX)));
            let entries: String = sizes[..kept.div_ceil(2)].iter().chain(&sizes[sizes.len() - kept / 2..]).map(cut).collect();
            Ok(Some(format!("0123456789{entries}")))
        }
    }

    fn fitted(bytes: usize, sizes: &[usize]) -> Option<usize> {
        fit(Limit { measure: Measure::Bytes, most: bytes }, sizes.len(), "f", render(sizes)).unwrap().map(|body| body.len())
    }

    #[test]
    fn as_many_entries_as_fit() {
        assert_eq!(fitted(1000, &[10; 200]), Some(1000));
        assert_eq!(fitted(1009, &[10; 200]), Some(1000));
        assert_eq!(fitted(10, &[10; 200]), Some(10));
    }

    #[test]
    fn one_giant_entry_is_cut_rather_than_everything_else() {
        let mut sizes = [10; 40];
        sizes[0] = 100_000;
        assert_eq!(fitted(60_000, &sizes), Some(10 + 2000 + 39 * 10));
    }

    #[test]
    fn the_essentials_are_last() {
        assert_eq!(fitted(9, &[10; 20]), Some("essential".len()));
        assert_eq!(fitted(8, &[10; 20]), None);
    }

    #[test]
    fn file_names_are_harmless() {
        assert_eq!(file_stem("e9e9-_x"), "session-e9e9-_x");
        assert_eq!(file_stem("../../etc/passwd\n\"é"), "session-etcpasswd");
        assert_eq!(file_stem(&"a".repeat(1000)).len(), "session-".len() + 64);
    }

    proptest! {
        #[test]
        fn what_fits_fits(bytes in 9_usize..3000, sizes in proptest::collection::vec(0_usize..4000, 0..60)) {
            prop_assert!(fitted(bytes, &sizes).unwrap() <= bytes);
        }
    }
}
