//! Converts Markdown to visible text. Its events drive the same page as HTML does, so raw HTML inside Markdown hides
//! and shows text exactly as it would in a browser.

mod pieces;

use super::{Content, HiddenKind, html::HtmlReader};
use pieces::pieces;
use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};

/// Reads a Markdown document. Its title is its first heading of level 1.
pub(super) fn read(text: &str) -> Content {
    let mut reader = HtmlReader::new();
    let mut title = TitleState::Before;
    for piece in pieces(text) {
        match piece.bounded {
            true => by_events(&mut reader, piece.text, &mut title),
            false => as_source(&mut reader, piece.text),
        }
    }
    let mut content = reader.finish();
    if let (true, TitleState::Inside(title) | TitleState::After(title)) = (content.title.is_empty(), title) {
        content.title = title.trim().to_owned();
    }
    content
}

fn by_events(reader: &mut HtmlReader, text: &str, title: &mut TitleState) {
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_YAML_STYLE_METADATA_BLOCKS;
    for event in Parser::new_ext(text, options) {
        kernel::yield_to_others(STEPS_AN_EVENT);
        title.follow(&event);
        handle_event(reader, event);
    }
}

/// Steps of an event of a few bytes. Longer ones are counted where their text is read.
const STEPS_AN_EVENT: u64 = 16;

/// Reads text and HTML tags only: hidden HTML stays hidden, and Markdown's marks are text.
fn as_source(reader: &mut HtmlReader, text: &str) {
    reader.page().start("pre", None);
    reader.feed(text);
    reader.page().end("pre");
}

enum TitleState {
    Before,
    Inside(String),
    After(String),
}

impl TitleState {
    fn follow(&mut self, event: &Event<'_>) {
        match (&mut *self, event) {
            (TitleState::Before, Event::Start(Tag::Heading { level: HeadingLevel::H1, .. })) => {
                *self = TitleState::Inside(String::new());
            }
            (TitleState::Inside(title), Event::Text(text) | Event::Code(text)) => title.push_str(text),
            (TitleState::Inside(title), Event::SoftBreak) => title.push(' '),
            (TitleState::Inside(title), Event::End(TagEnd::Heading(_))) => {
                *self = TitleState::After(std::mem::take(title))
            }
            _ => {}
        }
    }
}

fn handle_event(reader: &mut HtmlReader, event: Event<'_>) {
    match event {
        Event::Start(tag) => start(reader, &tag),
        Event::End(tag) => {
            if let Some(name) = end_name(&tag) {
                reader.page().end(name);
            }
        }
        Event::Text(text) | Event::Code(text) | Event::InlineMath(text) | Event::DisplayMath(text) => {
            reader.page().text(&text);
        }
        Event::Html(source) | Event::InlineHtml(source) => reader.feed(&source),
        Event::SoftBreak => reader.page().text("\n"),
        Event::HardBreak => reader.page().start("br", None),
        Event::Rule => reader.page().start("hr", None),
        Event::FootnoteReference(_) | Event::TaskListMarker(_) => {}
    }
}

fn start(reader: &mut HtmlReader, tag: &Tag<'_>) {
    let page = reader.page();
    match tag {
        Tag::Link { dest_url, title, .. } => {
            page.hide(HiddenKind::Link, dest_url);
            page.hide(HiddenKind::Label, title);
        }
        Tag::Image { dest_url, title, .. } => {
            page.hide(HiddenKind::Image, dest_url);
            page.hide(HiddenKind::Label, title);
            page.start("picture", Some(HiddenKind::Label));
        }
        Tag::MetadataBlock(_) => page.start("template", Some(HiddenKind::Label)),
        tag => {
            if let Some(name) = end_name(&tag.to_end()) {
                page.start(name, None);
            }
        }
    }
}

/// Name of the HTML element that represents a Markdown element.
fn end_name(tag: &TagEnd) -> Option<&'static str> {
    Some(match tag {
        TagEnd::Paragraph => "p",
        TagEnd::Heading(level) => match level {
            HeadingLevel::H1 => "h1",
            HeadingLevel::H2 => "h2",
            HeadingLevel::H3 => "h3",
            HeadingLevel::H4 => "h4",
            HeadingLevel::H5 => "h5",
            HeadingLevel::H6 => "h6",
        },
        TagEnd::BlockQuote(_) => "blockquote",
        TagEnd::CodeBlock => "pre",
        TagEnd::List(_) => "ul",
        TagEnd::Item | TagEnd::FootnoteDefinition => "li",
        TagEnd::Table => "table",
        TagEnd::TableHead | TagEnd::TableRow => "tr",
        TagEnd::TableCell => "td",
        TagEnd::Image => "picture",
        TagEnd::MetadataBlock(_) => "template",
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
