//! Markdown in pieces that the parser can read in bounded memory.
//!
//! The parser keeps a node of some 48 bytes for every mark: a page of stars takes seventy times its length. A document
//! with fewer marks than an ordinary one is read whole. Others are cut where one block has ended and another begins at
//! the left edge; what has no such place is not read as Markdown at all.

/// A document with at most this many marks is read whole: some 300 KB of nodes.
const MARKS_MIN: usize = 2_048;
/// Of larger ones a piece may have one mark for so many bytes of the document: ten bytes of nodes for each.
const BYTES_A_MARK: usize = 14;

/// A part of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece<'a> {
    pub(super) text: &'a str,
    /// Whether it has no more marks than the parser may be given at once.
    pub(super) bounded: bool,
}

/// The pieces of a document; together they are the document.
pub(super) fn pieces(text: &str) -> Vec<Piece<'_>> {
    let most = MARKS_MIN.max(text.len() / BYTES_A_MARK);
    let mut out: Vec<Piece<'_>> = Vec::new();
    let mut give = |from: usize, to: usize, marks: usize| {
        if let Some(text) = text.get(from..to).filter(|text| !text.is_empty()) {
            out.push(Piece { text, bounded: marks <= most });
        }
    };
    let mut blocks = Blocks::default();
    // Where the piece at hand began, and the last place at which it may end.
    let (mut start, mut border) = (0, 0);
    // Marks up to the border, and after it.
    let (mut before, mut after) = (0, 0);
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if blocks.begins(line) {
            if before + after > most {
                give(start, border, before);
                (start, before) = (border, 0);
            }
            (border, before, after) = (at, before + after, 0);
        }
        after += line.bytes().filter(|b| is_mark(*b)).count();
        at += line.len();
    }
    if before + after > most {
        give(start, border, before);
        (start, before) = (border, 0);
    }
    give(start, at, before + after);
    out
}

/// Whether the parser may make a node of it.
fn is_mark(byte: u8) -> bool {
    byte.is_ascii_punctuation() && !matches!(byte, b'.' | b',' | b';' | b'?' | b'/' | b'%' | b'@' | b'{' | b'}')
        || byte == b'\n'
}

/// What is open between lines, as far as it matters to where a piece may end.
#[derive(Default)]
struct Blocks {
    /// The fence of the code block that is open: its sign and how often.
    fence: Option<(u8, usize)>,
    html: Option<Html>,
    /// The line before was blank, or there was none.
    blank: bool,
}

/// How a block of HTML ends.
#[derive(Clone, Copy)]
enum Html {
    AtBlank,
    With(&'static str),
}

impl Blocks {
    /// Takes the next line; says whether a block begins with it and every one before it has ended.
    fn begins(&mut self, line: &str) -> bool {
        let after_blank = std::mem::replace(&mut self.blank, line.trim().is_empty());
        let inner = line.trim_start_matches(' ');
        let indent = line.len() - inner.len();
        if let Some((sign, times)) = self.fence {
            let run = inner.bytes().take_while(|b| *b == sign).count();
            if indent < 4 && run >= times && inner[run..].trim().is_empty() {
                self.fence = None;
            }
            return false;
        }
        if let Some(html) = self.html {
            let ends = match html {
                Html::AtBlank => self.blank,
                Html::With(mark) => contains(line, mark),
            };
            if ends {
                self.html = None;
            }
            return false;
        }
        let edge = indent == 0 && !line.starts_with('\t') && !self.blank;
        let begins = edge && (after_blank || interrupts(line));
        if indent < 4 {
            self.open(inner);
        }
        begins
    }

    /// What a line opens.
    fn open(&mut self, line: &str) {
        let first = line.bytes().next().unwrap_or(b' ');
        let run = line.bytes().take_while(|b| *b == first).count();
        match first {
            b'~' if run >= 3 => self.fence = Some((first, run)),
            b'`' if run >= 3 && !line[run..].contains('`') => self.fence = Some((first, run)),
            b'<' => {
                let kinds = [
                    ("<!--", "-->"),
                    ("<![cdata[", "]]>"),
                    ("<?", "?>"),
                    ("<!", ">"),
                    ("<script", "</script>"),
                    ("<pre", "</pre>"),
                    ("<style", "</style>"),
                    ("<textarea", "</textarea>"),
                ];
                let starts = |mark: &str| line.get(..mark.len()).is_some_and(|s| s.eq_ignore_ascii_case(mark));
                let kind = kinds.into_iter().find(|(start, _)| starts(start));
                self.html = match kind {
                    Some((_, end)) if contains(line, end) => None,
                    Some((_, end)) => Some(Html::With(end)),
                    None => Some(Html::AtBlank),
                };
            }
            _ => {}
        }
    }
}

/// A heading or an item of a list ends a paragraph without a blank line.
fn interrupts(line: &str) -> bool {
    let marks = line.bytes().take_while(|b| *b == b'#').count();
    let heading = (1..=6).contains(&marks) && line[marks..].starts_with([' ', '\n']);
    heading || ["- ", "* ", "+ "].iter().any(|mark| line.starts_with(mark))
}

fn contains(line: &str, mark: &str) -> bool {
    line.as_bytes().windows(mark.len()).any(|w| w.eq_ignore_ascii_case(mark.as_bytes()))
}
