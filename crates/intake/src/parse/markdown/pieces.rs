//! Divides Markdown into pieces that the parser can read in bounded memory.
//!
//! The parser keeps a node of some 48 bytes for every mark, so a page of stars takes seventy times its length. A
//! document with few marks is read whole. Others are divided where one block has ended and another begins at the left
//! edge; text without such a point is not read as Markdown at all.

/// A document with at most this many marks is read whole, with some 300 KB of nodes.
const MARKS_MIN: usize = 2_048;
/// A piece of a larger document may have one mark for each 14 bytes of the document, which makes ten bytes of nodes for
/// each byte.
const BYTES_A_MARK: usize = 14;

/// A part of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MarkdownPiece<'a> {
    pub(super) text: &'a str,
    /// Whether the piece has no more marks than the parser may read at a time.
    pub(super) bounded: bool,
}

/// Divides a document into pieces. Concatenated they are the document.
pub(super) fn pieces(text: &str) -> Vec<MarkdownPiece<'_>> {
    let most = MARKS_MIN.max(text.len() / BYTES_A_MARK);
    let mut out: Vec<MarkdownPiece<'_>> = Vec::new();
    let mut push_piece = |from: usize, to: usize, marks: usize| {
        if let Some(text) = text.get(from..to).filter(|text| !text.is_empty()) {
            out.push(MarkdownPiece { text, bounded: marks <= most });
        }
    };
    let mut blocks = BlockTracker::default();
    // Start of the current piece, and the last point at which it may end.
    let (mut start, mut border) = (0, 0);
    // Marks before the border and after it.
    let (mut before, mut after) = (0, 0);
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if blocks.begins(line) {
            if before + after > most {
                push_piece(start, border, before);
                (start, before) = (border, 0);
            }
            (border, before, after) = (at, before + after, 0);
        }
        after += line.bytes().filter(|b| is_mark(*b)).count();
        at += line.len();
    }
    if before + after > most {
        push_piece(start, border, before);
        (start, before) = (border, 0);
    }
    push_piece(start, at, before + after);
    out
}

/// Whether the parser may make a node for this byte.
fn is_mark(byte: u8) -> bool {
    byte.is_ascii_punctuation() && !matches!(byte, b'.' | b',' | b';' | b'?' | b'/' | b'%' | b'@' | b'{' | b'}')
        || byte == b'\n'
}

/// Tracks open blocks between lines, as far as they determine where a piece may end.
#[derive(Default)]
struct BlockTracker {
    /// Fence of the open code block: its character and its length.
    fence: Option<(u8, usize)>,
    html: Option<HtmlBlockEnd>,
    /// Whether the previous line was blank.
    blank: bool,
}

/// How a block of HTML ends.
#[derive(Clone, Copy)]
enum HtmlBlockEnd {
    AtBlank,
    With(&'static str),
}

impl BlockTracker {
    /// Takes the next line, and returns whether a block begins with it and every previous block has ended.
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
                HtmlBlockEnd::AtBlank => self.blank,
                HtmlBlockEnd::With(mark) => contains(line, mark),
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

    /// Notes the block that a line opens.
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
                    Some((_, end)) => Some(HtmlBlockEnd::With(end)),
                    None => Some(HtmlBlockEnd::AtBlank),
                };
            }
            _ => {}
        }
    }
}

/// Whether a line ends a paragraph without a blank line: a heading or a list item does.
fn interrupts(line: &str) -> bool {
    let marks = line.bytes().take_while(|b| *b == b'#').count();
    let heading = (1..=6).contains(&marks) && line[marks..].starts_with([' ', '\n']);
    heading || ["- ", "* ", "+ "].iter().any(|mark| line.starts_with(mark))
}

fn contains(line: &str, mark: &str) -> bool {
    line.as_bytes().windows(mark.len()).any(|w| w.eq_ignore_ascii_case(mark.as_bytes()))
}
