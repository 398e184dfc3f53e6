//! XML in and out.
//!
//! XML 1.0 has no way to write most control characters, U+FFFE and U+FFFF, not even as references, while keys may contain
//! them. Documents with such text are refused with a hint at `encoding-type=url`; only error messages replace them.

use bytes::Bytes;
use quick_xml::{de::Deserializer, events::Event, reader::Reader};
use serde::{Serialize, de::DeserializeOwned};

use crate::s3::error::{Code, S3Error};

/// What every document begins with.
pub const DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";

/// The namespace of every S3 document but errors.
pub const NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";

/// The most bytes of a `Delete` document: 1,000 keys of 1,024 bytes with their markup, and as much again for references.
pub const DELETE_MAX: u32 = 2 << 20;

/// The most bytes of a `CompleteMultipartUpload` document: 10,000 parts, each with an ETag and every kind of checksum.
pub const COMPLETE_MAX: u32 = 6 << 20;

/// The most bytes of any other document.
pub const DOCUMENT_MAX: u32 = 64 << 10;

/// Elements may be nested this deep; the deepest document of S3 that is read here needs four levels.
const DEPTH_MAX: usize = 16;

/// The document with `value` in an element `root` of the S3 namespace. Fails if a text in it holds a character that XML
/// cannot carry.
pub fn to_xml<T: Serialize>(root: &str, value: &T) -> Result<Bytes, S3Error> {
    let mut text = String::with_capacity(1024);
    text.push_str(DECLARATION);
    let start = text.len();
    quick_xml::se::to_writer_with_root(&mut text, root, value).map_err(|error| {
        S3Error::new(
            Code::InternalError,
            format!("The answer could not be written as XML: {error}."),
        )
    })?;
    text.insert_str(start + 1 + root.len(), &format!(" xmlns=\"{NAMESPACE}\""));
    if let Some(wrong) = text.chars().find(|c| !is_character(*c)) {
        return Err(S3Error::new(
            Code::InvalidRequest,
            format!(
                "The answer holds the character U+{:04X}, which XML 1.0 cannot carry. Ask again with encoding-type=url.",
                u32::from(wrong)
            ),
        ));
    }
    // A reader turns a bare carriage return into a line feed; markup of ours has none, so all are text.
    Ok(Bytes::from(if text.contains('\r') { text.replace('\r', "&#13;") } else { text }))
}

/// The value in a document whose root element is `root`, in any namespace. Anything else is `MalformedXML`.
pub fn parse<T: DeserializeOwned>(document: &[u8], root: &str) -> Result<T, S3Error> {
    let malformed = |what: String| {
        S3Error::new(
            Code::MalformedXML,
            format!(
                "The XML you provided was not well-formed or did not validate against our published schema: {what}."
            ),
        )
    };
    let document = document.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(document);
    let text = std::str::from_utf8(document).map_err(|_| malformed("not UTF-8".to_owned()))?;
    check(text, root).map_err(malformed)?;
    let mut deserializer = Deserializer::from_str(text);
    T::deserialize(&mut deserializer).map_err(|error| malformed(error.to_string()))
}

/// Walks the whole document once: one root of the right name, nothing but blanks and comments around it, no document type,
/// no wild nesting.
fn check(text: &str, root: &str) -> Result<(), String> {
    let mut reader = Reader::from_str(text);
    let (mut depth, mut seen) = (0usize, false);
    loop {
        let event = reader.read_event().map_err(|error| error.to_string())?;
        match event {
            Event::Start(ref element) | Event::Empty(ref element) => {
                if depth == 0 {
                    let name = element.local_name();
                    if seen || name.as_ref() != root {
                        return Err(format!("the root element must be {root}"));
                    }
                    seen = true;
                }
                if matches!(event, Event::Start(_)) {
                    depth += 1;
                }
                if depth > DEPTH_MAX {
                    return Err("elements are nested too deep".to_owned());
                }
            }
            // The reader has seen to it that every end has its start.
            Event::End(_) => depth = depth.saturating_sub(1),
            Event::Text(ref text) if depth == 0 => {
                if !text.bytes().all(|b| b.is_ascii_whitespace()) {
                    return Err("text outside of the root element".to_owned());
                }
            }
            Event::CData(_) | Event::GeneralRef(_) if depth == 0 => {
                return Err("text outside of the root element".to_owned());
            }
            Event::DocType(_) => return Err("document types are not allowed".to_owned()),
            Event::Eof if depth == 0 && seen => return Ok(()),
            Event::Eof => return Err(format!("no whole {root} element")),
            Event::Text(_)
            | Event::CData(_)
            | Event::GeneralRef(_)
            | Event::Comment(_)
            | Event::Decl(_)
            | Event::PI(_) => {}
        }
    }
}

/// Whether every character of `text` can stand in an XML 1.0 document.
pub fn is_representable(text: &str) -> bool {
    text.chars().all(is_character)
}

/// `<name>value</name>`, with what XML cannot carry replaced by U+FFFD: for texts that are for people to read.
pub(crate) fn element_lossy(out: &mut String, name: &str, value: &str) {
    out.push('<');
    out.push_str(name);
    out.push('>');
    for c in value.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\r' => out.push_str("&#13;"),
            c if is_character(c) => out.push(c),
            _ => out.push(char::REPLACEMENT_CHARACTER),
        }
    }
    out.push_str("</");
    out.push_str(name);
    out.push('>');
}

/// The `Char` production of XML 1.0 (section 2.2); surrogates cannot be in a `char`.
fn is_character(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{FFFD}' | '\u{10000}'..)
}
