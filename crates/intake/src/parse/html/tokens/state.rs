//! The tokenizer's states: those of the HTML standard that matter to text.

/// Content that is not markup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Raw {
    /// Text with character references: `title`, `textarea`.
    Escapable,
    /// Text without character references: `style`, `iframe` and others.
    Text,
    /// A script. Its escape state determines whether `</script>` ends it.
    Script(Escape),
}

/// Escape state of a script, which a `<!--` in it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Escape {
    None,
    Once,
    /// Inside `<!-- <script>`: the next `</script>` does not end the element.
    Twice,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Data,
    Plaintext,
    Raw(Raw),
    RawLess(Raw),
    RawEndOpen(Raw),
    RawEndName(Raw),
    ScriptBang,
    ScriptBangDash,
    /// The name after a `<` in an escaped script.
    ScriptOpens,
    /// The name after a `</` in a script that is escaped twice.
    ScriptCloses,
    TagOpen,
    EndTagOpen,
    TagName,
    BeforeName,
    Name,
    AfterName,
    BeforeValue,
    Quoted(u8),
    Unquoted,
    AfterValue,
    SelfClosing,
    Declaration,
    Comment,
    Bogus,
}
