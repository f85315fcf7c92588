//! Recognises formats without a parser by their first bytes, regardless of name or media type. Some of them are ASCII,
//! and would otherwise be indexed as source text.

/// Greatest offset of a PDF's first line in a file, in bytes, as Adobe's readers accept it.
const PDF_START_MAX: usize = 1_024;

/// A format without a parser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnsupportedFormat {
    /// Name of the format with its article: `a PDF file`.
    pub name: &'static str,
    /// Whether files of this format usually contain text: documents and archives do, pictures and sounds do not.
    pub contains_text: bool,
}

impl UnsupportedFormat {
    fn named(name: &'static str) -> Self {
        let kinds = ["image", "audio", "video", "program", "font"];
        Self { name, contains_text: !kinds.iter().any(|kind| name.contains(kind)) }
    }
}

/// Returns the format of these bytes, if it is one without a parser.
pub fn unsupported_format(bytes: &[u8]) -> Option<UnsupportedFormat> {
    by_bytes(bytes).map(UnsupportedFormat::named)
}

/// Returns the format that a file name extension claims, if it is one without a parser.
pub fn unsupported_extension(ending: &str) -> Option<UnsupportedFormat> {
    by_ending(ending).map(UnsupportedFormat::named)
}

fn by_bytes(bytes: &[u8]) -> Option<&'static str> {
    if let Some((_, name)) = BINARY.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return Some(name);
    }
    if bytes.get(4..8) == Some(b"ftyp") {
        return Some("an audio, video or HEIF file");
    }
    if bytes.get(257..262) == Some(b"ustar") {
        return Some("a tar archive");
    }
    if bytes.starts_with(b"RIFF") && matches!(bytes.get(8..12), Some(b"WEBP" | b"WAVE" | b"AVI ")) {
        return Some("an image, audio or video file");
    }
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
    if let Some((_, name)) = ASCII.iter().find(|(magic, _)| text.starts_with(magic)) {
        return Some(name);
    }
    // A PDF that starts after other bytes must also end like one, because a text may mention PDF files.
    let head = &bytes[..bytes.len().min(PDF_START_MAX)];
    let tail = &bytes[bytes.len().saturating_sub(PDF_START_MAX)..];
    let holds = |part: &[u8], mark: &[u8]| part.windows(mark.len()).any(|w| w == mark);
    (holds(head, b"\n%PDF-") && holds(tail, b"%%EOF")).then_some("a PDF file")
}

const ASCII: &[(&[u8], &str)] = &[
    (b"%PDF-", "a PDF file"),
    (b"{\\rtf", "an RTF file"),
    (b"%!PS-Adobe", "a PostScript file"),
    (b"begin 644 ", "uuencoded data"),
    (b"-----BEGIN PGP MESSAGE-----", "an encrypted message"),
];

const BINARY: &[(&[u8], &str)] = &[
    (b"PK\x03\x04", "a ZIP archive or an Office file"),
    (b"PK\x05\x06", "an empty ZIP archive"),
    (b"\xd0\xcf\x11\xe0", "an old Office file"),
    (b"\x1f\x8b", "gzip data"),
    (b"BZh91AY&SY", "bzip2 data"),
    (b"\xfd7zXZ", "xz data"),
    (b"\x28\xb5\x2f\xfd", "Zstandard data"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!\x1a", "a RAR archive"),
    (b"\x89PNG", "an image"),
    (b"\xff\xd8\xff", "an image"),
    (b"GIF87a", "an image"),
    (b"GIF89a", "an image"),
    (b"II*\0", "an image"),
    (b"MM\0*", "an image"),
    (b"\0\0\x01\0", "an image"),
    (b"ID3\x03", "an audio file"),
    (b"ID3\x04", "an audio file"),
    (b"OggS", "an audio or video file"),
    (b"fLaC", "an audio file"),
    (b"\x1a\x45\xdf\xa3", "a video file"),
    (b"\x7fELF", "a program"),
    (b"\xca\xfe\xba\xbe", "a program"),
    (b"SQLite format 3\0", "a SQLite database"),
    (b"PAR1", "a Parquet file"),
    (b"wOFF", "a font"),
    (b"wOF2", "a font"),
];

fn by_ending(ending: &str) -> Option<&'static str> {
    Some(match ending.to_ascii_lowercase().as_str() {
        "pdf" => "a PDF file",
        "rtf" => "an RTF file",
        "doc" | "xls" | "ppt" | "msg" => "an old Office file",
        "docx" | "docm" | "xlsx" | "xlsm" | "pptx" | "pptm" | "odt" | "ods" | "odp" => "an Office file",
        "epub" => "an EPUB file",
        "zip" | "jar" | "tar" | "tgz" | "gz" | "bz2" | "xz" | "zst" | "7z" | "rar" => "an archive",
        "png" | "jpg" | "jpeg" | "gif" | "webp" | "bmp" | "tif" | "tiff" | "ico" | "heic" | "avif" => "an image",
        "mp3" | "m4a" | "wav" | "ogg" | "flac" => "an audio file",
        "mp4" | "mov" | "avi" | "mkv" | "webm" => "a video file",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(b"%PDF-1.4\n1 0 obj", Some("a PDF file"))]
    #[case(b"\xef\xbb\xbf\n %PDF-1.4", Some("a PDF file"))]
    #[case(b"junk\n%PDF-1.4\n1 0 obj\n%%EOF\n", Some("a PDF file"))]
    #[case(b"A file that begins with\n%PDF-1.4 is a PDF.", None)]
    #[case(b"{\\rtf1\\ansi Hello}", Some("an RTF file"))]
    #[case(b"  {\\rtf1", Some("an RTF file"))]
    #[case(b"PK\x03\x04rest", Some("a ZIP archive or an Office file"))]
    #[case(b"RIFF....WEBPVP8 ", Some("an image, audio or video file"))]
    #[case(b"\0\0\0\x18ftypheic", Some("an audio, video or HEIF file"))]
    #[case(b"GIF89a", Some("an image"))]
    #[case(b"# Pages", None)]
    #[case(b"{\"rtf\": 1}", None)]
    #[case(b"RIFFs are short tunes", None)]
    #[case(b"", None)]
    fn first_bytes(#[case] bytes: &[u8], #[case] name: Option<&str>) {
        assert_eq!(unsupported_format(bytes).map(|format| format.name), name);
    }

    #[test]
    fn endings() {
        assert_eq!(unsupported_extension("PDF"), Some(UnsupportedFormat { name: "a PDF file", contains_text: true }));
        assert_eq!(unsupported_extension("png"), Some(UnsupportedFormat { name: "an image", contains_text: false }));
        assert_eq!(unsupported_extension("md"), None);
    }
}
