use super::super::testing::{FULL_SCREEN_SAMPLE, RecordingWriter, SAMPLE};
use super::*;
use proptest::prelude::*;

fn opened() -> RecordingWriter {
    RecordingWriter::new().opened(80, 25)
}

/// The text after this output on 80 columns and 25 rows.
fn text(output: &str) -> String {
    let transcript = transcript(&opened().shown(output.as_bytes()).end()).unwrap();
    assert!(!transcript.is_cut);
    transcript.text
}

#[test]
fn real_sessions() {
    for (sample, expected) in
        [(SAMPLE, include_str!("../../samples/terminal.txt")), (FULL_SCREEN_SAMPLE, include_str!("../../samples/full_screen.txt"))]
    {
        assert_eq!(transcript(sample), Ok(TerminalTranscript { text: expected.trim_end().to_owned(), is_cut: false }));
    }
}

#[test]
fn as_a_person_saw_it() {
    let row = "a".repeat(80);
    let table = [
        ("nothing", "", ""),
        ("lines", "$ ls\r\na  b\r\n$ ", "$ ls\na  b\n$"),
        ("colours and titles", "\u{1b}]0;title\u{7}\u{1b}[1;31mred\u{1b}[0m\u{7} \u{1b}Psecret\u{1b}\\x", "red x"),
        ("a tab", "a\tb", "a       b"),
        ("corrected by backspace", "$ ec\u{8}\u{1b}[K\u{8}\u{1b}[Kls", "$ ls"),
        ("a progress bar", "  0%\r 50%\r100%\r\ndone", "100%\ndone"),
        ("a shorter line over a longer one", "downloading\rdone\u{1b}[K\r\n", "done"),
        ("a bar of several lines", "a 1%\r\nb 1%\r\n\u{1b}[2Aa 9%\r\nb 9%\r\n", "a 9%\nb 9%"),
        ("cleared", "before\r\n\u{1b}[H\u{1b}[2J\u{1b}[3Jafter", "before\nafter"),
        ("reset", "before\u{1b}cafter", "before\nafter"),
        ("line drawing", "\u{1b}(0lqk\u{1b}(B", "┌─┐"),
        ("wide characters", "太郎\r\nx", "太郎\nx"),
        ("characters that mislead", "gpj\u{202e}.exe r\u{200b}m \u{2066}x\u{2069}\u{ad}", "gpj.exe rm x"),
        ("which take no place on the screen", "a\u{200b}\u{202e}b\u{1b}[1;3Hc", "abc"),
        ("a line as long as a row", &format!("{row} "), &row),
        ("an unfinished sequence", "a\u{1b}[12", "a"),
        (
            "what an agent types",
            " alias ls='ls --color=auto';clear\r\n$  alias ls='ls --color=auto';clear\r\n\u{1b}[H\u{1b}[2J\u{1b}[3J$ ls",
            "$ ls",
        ),
        ("the same by a person", "$ x\r\n$  alias ls='ls --color=auto';clear\r\n", "$ x\n$  alias ls='ls --color=auto';clear"),
        (
            "Windows",
            "\u{1b}[2J\u{1b}[m\u{1b}[HMicrosoft Windows [Version 10.0.19045.5011]\r\n(c) Microsoft Corporation.\u{1b}[4;1HC:\\>\
             \u{1b}]0;Administrator: cmd.exe\u{7}\u{1b}[?25hd\u{1b}[?25l\u{1b}[4;6Hir\u{1b}[?25h\r\n\u{1b}[?25l Grö\u{df}e\u{1b}[3C5\u{1b}[K\
             \r\n\nC:\\>\u{1b}[?25h",
            "Microsoft Windows [Version 10.0.19045.5011]\n(c) Microsoft Corporation.\n\nC:\\>dir\n Größe   5\n\nC:\\>",
        ),
    ];
    for (name, output, expected) in table {
        assert_eq!(text(output), expected, "{name}");
    }
}

#[test]
fn scrolled_off_lines_are_kept() {
    let lines: Vec<String> = (1..=200).map(|line| format!("line {line}")).collect();
    assert_eq!(text(&lines.join("\r\n")), lines.join("\n"));
    let long = "long ".repeat(100);
    assert_eq!(text(&format!("{long}\r\nx")), format!("{}\nx", long.trim_end()));
}

#[test]
fn output_that_is_no_utf_8() {
    let file = opened().shown(b"Gr\xf6\xdfe\r\n\xc3").shown(b"\xa4 \xe2\x82").shown(b"\xac \xf0\x9f").end();
    assert_eq!(transcript(&file).unwrap().text, "Gr\u{fffd}\u{fffd}e\nä €");
}

#[test]
fn full_screen_programs_are_one_line() {
    let vim = "\u{1b}[?1049h\u{1b}[2J\u{1b}[1;1Hroot:x:0:0\r\n~\r\n~\u{1b}[?1049l";
    let scrolled = "x\r\n".repeat(40);
    let table = [
        ("one", format!("$ vim a\r\n{vim}$ next"), format!("$ vim a\n{FULL_SCREEN}\n$ next")),
        ("at the top", format!("{vim}$ next"), format!("{FULL_SCREEN}\n$ next")),
        ("the last", format!("$ vim a\r\n{vim}"), format!("$ vim a\n{FULL_SCREEN}")),
        ("still open", "$ vim a\r\n\u{1b}[?1049hroot".to_owned(), format!("$ vim a\n{FULL_SCREEN}")),
        ("two", format!("$ vim a\r\n{vim}$ vim b\r\n{vim}$ "), format!("$ vim a\n{FULL_SCREEN}\n$ vim b\n{FULL_SCREEN}\n$")),
        ("two at one place", format!("$ x\r\n{vim}{vim}$ "), format!("$ x\n{FULL_SCREEN}\n$")),
        ("older sequence", "$ less\r\n\u{1b}[?47hx\u{1b}[?47l\r$ ".to_owned(), format!("$ less\n{FULL_SCREEN}\n$")),
        (
            "scrolled off",
            format!("{scrolled}$ vim\r\n{vim}$ ls\r\n{scrolled}"),
            format!("{x}$ vim\n{FULL_SCREEN}\n$ ls\n{x}", x = "x\n".repeat(40)).trim_end().to_owned(),
        ),
        ("within a long line", format!("{a}{vim}{a}{vim}b\r\n$ ", a = "a".repeat(100)), format!("{}b\n{FULL_SCREEN}\n$", "a".repeat(200))),
        ("cleared", format!("$ vim\r\n{vim}$ clear\r\n\u{1b}[H\u{1b}[2J$ "), format!("$ vim\n{FULL_SCREEN}\n$ clear\n$")),
        ("reset", format!("$ vim\r\n{vim}$ reset\r\n\u{1b}c$ "), format!("$ vim\n{FULL_SCREEN}\n$ reset\n$")),
    ];
    for (name, output, expected) in table {
        assert_eq!(text(&output), expected, "{name}");
    }
}

#[test]
fn the_browser_tells_the_size() {
    // As bash does at the end of a row.
    let long = format!("{}{}", "a".repeat(100), "b".repeat(20));
    let drawn = format!("{} \r{}", "a".repeat(100), "b".repeat(20));
    let table = [
        (RecordingWriter::new().opened(100, 30), long.clone()),
        (opened().told(r#"{"ctrlChannel":"102938","type":"termsize","cols":100,"rows":30}"#), long),
        // Not told in a message, or no size.
        (opened().typed(br#"{"cols":100,"rows":30}"#).told("x").told(r#"{"cols":-1}"#), format!("{}{}", "a".repeat(80), "b".repeat(20))),
    ];
    for (writer, expected) in table {
        assert_eq!(transcript(&writer.shown(drawn.as_bytes()).end()).unwrap().text, expected);
    }
    // A size from outside has bounds; x is drawn as far to the right and to the bottom as it can be.
    for (size, columns, rows) in [(0, 20, 1), (u16::MAX, 1000, 300)] {
        let file = RecordingWriter::new().opened(size, size).shown(b"a\r\n\x1b[9999;9999Hx").end();
        let text = transcript(&file).unwrap().text;
        assert_eq!(text.lines().last().map(str::len), Some(columns));
        assert_eq!(text.contains("\n\n"), rows > 1);
    }
}

/// Typed at `read -s`, which echoes nothing, and where asterisks are shown.
#[test]
fn a_password_is_not_in_a_real_transcript() {
    let password = b"S3cret-pw";
    for sample in [SAMPLE, FULL_SCREEN_SAMPLE] {
        let blocks = Recording::read(sample).unwrap().blocks();
        let typed: Vec<u8> = blocks.filter(|block| block.sender == Sender::Technician).flat_map(|block| block.body.to_vec()).collect();
        assert!(typed.windows(password.len()).any(|window| window == password), "the recording holds it");
        let text = transcript(sample).unwrap().text;
        assert!(text.contains("Password: "));
        assert!(!text.contains("cret") && !text.contains("****"));
    }
}

#[test]
fn passwords_that_are_drawn() {
    let table = [
        ("Password: ********\r\nok", "Password: ***\nok"),
        ("Password: *\u{8}**\u{8} \u{8}**\r\nok", "Password: ***\nok"),
        ("Password: \u{1b}[8mhidden\u{1b}[28m\r\nok", "Password:\nok"),
        ("Password: \u{1b}[30;40mhidden\u{1b}[m\r\nok", "Password:\nok"),
        ("Password: \u{1b}[8mh\u{1b}[5b\u{1b}[m\r\nok", "Password:\nok"),
    ];
    for (output, expected) in table {
        assert_eq!(text(output), expected, "{output:?}");
    }
}

#[test]
fn without_sides_there_is_no_transcript() {
    let keys =
        |flags| RecordingWriter::new().add(flags, br#"{"cols":80,"rows":25,"type":"options"}"#).add(flags, b"1").add(flags | 1, b"hidden");
    // A program that does not call itself a browser; both sides exchanged.
    for writer in [keys(0), keys(0).add(3, b"output"), RecordingWriter::new().shown(b"output")] {
        assert_eq!(transcript(&writer.end()), Err(RecordingError::UnknownSides));
    }
}

#[test]
fn other_kinds_of_session() {
    for protocol in [1, 6, 8, 9] {
        assert!(transcript(&RecordingWriter::of_protocol(protocol).opened(80, 25).end()).is_ok());
    }
    for protocol in [-1, 0, 2, 5, 100, 200] {
        assert_eq!(transcript(&RecordingWriter::of_protocol(protocol).opened(80, 25).end()), Err(RecordingError::NotATerminal));
    }
    assert_eq!(transcript(b"<html>"), Err(RecordingError::NotARecording));
}

#[test]
fn messages_are_not_output() {
    let message = br#"{"ctrlChannel":"102938","type":"console","msg":"Waiting for user to grant access...","msgid":1}"#;
    let file = opened().add(0, message).shown(b"$ ").add(0, b"pong").end();
    assert_eq!(transcript(&file).unwrap().text, "$");
}

#[test]
fn a_recording_that_breaks_off_says_so() {
    let file = opened().shown(b"$ ls\r\n\xc3").file;
    let expected = TerminalTranscript { text: format!("$ ls\n{BREAKS_OFF}"), is_cut: true };
    assert_eq!(transcript(&file), Ok(expected));
    let expected = TerminalTranscript { text: BREAKS_OFF.to_owned(), is_cut: true };
    assert_eq!(transcript(&RecordingWriter::new().file), Ok(expected));
}

#[test]
fn long_output_is_cut_in_the_middle() {
    let output: Vec<String> = (0..100_000).map(|line| format!("line {line}")).collect();
    let transcript = transcript(&opened().shown(output.join("\r\n").as_bytes()).end()).unwrap();
    assert!(transcript.is_cut);
    assert!(transcript.text.starts_with("line 0\nline 1\n"));
    assert!(transcript.text.ends_with("\nline 99998\nline 99999"));
    assert!(transcript.text.contains(" lines are left out here.]\n"));
    assert!(transcript.text.len() < 300_000);
}

#[test]
fn a_line_without_end_is_broken() {
    let transcript = transcript(&opened().shown(&vec![b'a'; 1_000_000]).end()).unwrap();
    assert!(transcript.is_cut);
    assert!(transcript.text.lines().all(|line| line.len() <= MAX_LINE_BYTES + 80));
}

#[test]
fn sequences_that_make_endless_work() {
    let max_work = 1_000_000;
    let shown = |sequence: &str, times: usize| {
        let writer = RecordingWriter::new().opened(1000, 300).shown(sequence.repeat(times).as_bytes());
        transcript_within(&writer.shown(b"the end").end(), max_work).unwrap()
    };
    for (sequence, enough) in [
        ("a\u{1b}[65535b", 20),
        ("\u{1b}[999Hx\u{1b}[2J", 30),
        ("\u{1b}[?1049h\u{1b}[?1049l", 30),
        ("\u{1b}c", 30),
        ("\u{1b}[65535L", 30),
        ("\u{1b}[65535I", 10_000),
        ("\n", 10_000),
    ] {
        assert!(shown(sequence, 2).text.ends_with("the end"), "{sequence:?}");
        let transcript = shown(sequence, enough);
        assert!(transcript.is_cut && transcript.text.ends_with(TOO_MUCH) && !transcript.text.contains("the end"), "{sequence:?}");
    }
    let resized = (0..30).fold(RecordingWriter::new(), |writer, round| writer.opened(1000 - round, 300));
    assert!(transcript_within(&resized.end(), max_work).unwrap().text.ends_with(TOO_MUCH));
}

/// A hundredth of the largest recording takes less than a hundredth of the work allowed.
#[test]
fn the_largest_recording() {
    let line = "a line of some words\r\n";
    let output = line.repeat(super::super::MAX_BYTES / 100 / line.len());
    let file = RecordingWriter::new().opened(131, 33).shown(output.as_bytes()).shown(b"the end").end();
    assert!(transcript_within(&file, MAX_WORK / 100).unwrap().text.ends_with("the end"));
}

/// Output that a terminal interprets.
fn output() -> impl Strategy<Value = Vec<u8>> {
    let sequence = ("[?>!]{0,1}", proptest::collection::vec(prop_oneof![0_u16..120, any::<u16>()], 0..4), "[@-~]").prop_map(
        |(prefix, parameters, last)| {
            let parameters: Vec<String> = parameters.iter().map(u16::to_string).collect();
            format!("\u{1b}[{prefix}{}{last}", parameters.join(";")).into_bytes()
        },
    );
    let mode =
        prop::sample::select(vec!["?1049h", "?1049l", "?47h", "?47l", "?6h", "?7l", "?7h", "4h", "4l", "20h", "2J", "3;7r", "1;31m"]);
    let part = prop_oneof![
        4 => "[a-z太ä\u{301}\u{200d}\u{202e}]{0,40}".prop_map(String::into_bytes),
        4 => sequence,
        2 => mode.prop_map(|mode| format!("\u{1b}[{mode}").into_bytes()),
        2 => "\u{1b}[ -~]{0,2}".prop_map(String::into_bytes),
        2 => prop::sample::select(vec!["\r", "\n", "\r\n", "\u{8}", "\t", "\u{7}", "\u{e}", "\u{f}", "\u{9b}", "\u{84}"])
            .prop_map(|control| control.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..20),
    ];
    proptest::collection::vec(part, 0..40).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Any output on any size, resized at any point: legible text, and no panic.
    #[test]
    fn the_text_is_legible(parts in proptest::collection::vec((output(), any::<(u8, u8)>()), 0..4)) {
        let mut writer = opened();
        for (output, (columns, rows)) in parts {
            writer = writer.shown(&output).told(&format!(r#"{{"cols":{columns},"rows":{rows}}}"#));
        }
        let text = transcript(&writer.end()).unwrap().text;
        prop_assert!(text.chars().all(|character| character == '\n' || is_legible(character)), "{:?}", text);
    }

    /// Whatever is typed, the text is the same: it is made from the output.
    #[test]
    fn keystrokes_have_no_part_in_it(output in output(), typed in proptest::collection::vec(any::<u8>(), 0..60), at in any::<prop::sample::Index>()) {
        let (before, after) = output.split_at(at.index(output.len() + 1));
        let with = |typed: &[u8]| transcript(&opened().shown(before).typed(typed).shown(after).end());
        prop_assert_eq!(with(&typed), with(b""));
    }

    /// Blocks end anywhere, also within characters and sequences.
    #[test]
    fn blocks_make_no_difference(output in output(), at in proptest::collection::vec(any::<prop::sample::Index>(), 0..6)) {
        let mut ends: Vec<_> = at.iter().map(|at| at.index(output.len() + 1)).collect();
        ends.push(output.len());
        ends.sort_unstable();
        let mut writer = opened();
        let mut from = 0;
        for end in ends {
            writer = writer.shown(&output[from..end]);
            from = end;
        }
        prop_assert_eq!(transcript(&writer.end()), transcript(&opened().shown(&output).end()));
    }
}
