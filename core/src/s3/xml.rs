//! XML in and out.
//!
//! XML 1.0 has no way to write most control characters, U+FFFE and U+FFFF, not even as references, while keys may contain
//! them. Documents with such text are refused with a hint at `encoding-type=url`; only error messages replace them.

use bytes::Bytes;
use quick_xml::{de::Deserializer, events::Event, reader::Reader, writer::Writer};
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

/// The most bytes of a `WebsiteConfiguration`: 1,000 rules with all their markup, and all the text that a website may have.
pub const WEBSITE_MAX: u32 = 1 << 20;

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
    if !is_representable(&text)
        && let Some(wrong) = text.chars().find(|c| !is_character(*c))
    {
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
    deserialize(checked(document, root)?)
}

/// The same for a type that takes no element which it does not know. Attributes say nothing but namespaces here.
pub fn parse_known<T: DeserializeOwned>(document: &[u8], root: &str) -> Result<T, S3Error> {
    let bare = without_attributes(checked(document, root)?);
    deserialize(&bare.map_err(|error| malformed(&error.to_string()))?)
}

fn checked<'a>(document: &'a [u8], root: &str) -> Result<&'a str, S3Error> {
    let document = document.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(document);
    let text = std::str::from_utf8(document).map_err(|_| malformed("not UTF-8"))?;
    check(text, root).map_err(|what| malformed(&what))?;
    Ok(text)
}

fn deserialize<T: DeserializeOwned>(text: &str) -> Result<T, S3Error> {
    let mut deserializer = Deserializer::from_str(text);
    T::deserialize(&mut deserializer).map_err(|error| malformed(&error.to_string()))
}

/// The error of a document that is not what the operation takes.
pub fn malformed(what: &str) -> S3Error {
    S3Error::new(
        Code::MalformedXML,
        format!(
            "The XML you provided was not well-formed or did not validate against our published schema: {what}."
        ),
    )
}

fn without_attributes(text: &str) -> Result<String, quick_xml::Error> {
    let (mut reader, mut writer) = (Reader::from_str(text), Writer::new(Vec::new()));
    loop {
        let mut event = reader.read_event()?;
        if let Event::Start(element) | Event::Empty(element) = &mut event {
            element.clear_attributes();
        }
        if matches!(event, Event::Eof) {
            return Ok(String::from_utf8_lossy(&writer.into_inner()).into_owned());
        }
        writer.write_event(event)?;
    }
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
    // Byte by byte, which is many times faster than by character: a listing has hundreds of kilobytes.
    text.bytes().all(|byte| byte >= b' ' || matches!(byte, b'\t' | b'\n' | b'\r'))
        && !text.contains(['\u{FFFE}', '\u{FFFF}'])
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Delete {
        #[serde(rename = "Object", default)]
        objects: Vec<Object>,
        #[serde(rename = "Quiet", default)]
        quiet: bool,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Object {
        #[serde(rename = "Key")]
        key: String,
    }

    fn delete(keys: &[&str]) -> Delete {
        let objects = keys.iter().map(|key| Object { key: (*key).to_owned() }).collect();
        Delete { objects, quiet: true }
    }

    #[test]
    fn a_document_has_its_declaration_and_namespace() {
        let text = to_xml("Delete", &delete(&["a<&>\r\nb"])).unwrap();
        assert_eq!(
            std::str::from_utf8(&text).unwrap(),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
             <Object><Key>a&lt;&amp;&gt;&#13;\nb</Key></Object><Quiet>true</Quiet></Delete>"
        );
        #[derive(Serialize)]
        struct Empty {}
        let text = to_xml("Empty", &Empty {}).unwrap();
        assert!(
            text.ends_with(b"<Empty xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"/>"),
            "{text:?}"
        );
    }

    #[test]
    fn characters_beyond_xml_are_refused_not_mangled() {
        let error = to_xml("Delete", &delete(&["a\u{1}b"])).unwrap_err();
        assert!(error.message.contains("U+0001") && error.message.contains("encoding-type=url"));
        assert!(to_xml("Delete", &delete(&["a\u{FFFF}"])).is_err());
        assert!(is_representable("tab\tand é and \u{10FFFF}") && !is_representable("\u{0}"));
    }

    #[test]
    fn an_error_is_readable_whatever_was_asked_for() {
        let error =
            S3Error::new(Code::NoSuchKey, "The <key> does not exist.").detail("Key", "a\u{0}&b");
        assert_eq!(
            std::str::from_utf8(&error.to_xml("/b/a", "1", "2")).unwrap(),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>NoSuchKey</Code><Message>The &lt;key&gt; does not \
             exist.</Message><Key>a\u{FFFD}&amp;b</Key><Resource>/b/a</Resource><RequestId>1</RequestId>\
             <HostId>2</HostId></Error>"
        );
    }

    #[test]
    fn documents_of_clients_are_read() {
        let keys = |text: &str| {
            parse::<Delete>(text.as_bytes(), "Delete").map(|delete| {
                delete.objects.into_iter().map(|object| object.key).collect::<Vec<_>>()
            })
        };
        for text in [
            "<Delete><Object><Key>a</Key></Object><Quiet>true</Quiet><Object><Key>b</Key></Object></Delete>",
            "\u{FEFF}<?xml version=\"1.0\"?>\n<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\n  <Object>\n<Key>a</Key>\
             <VersionId>null</VersionId></Object><!-- c --><Object><Key>b</Key></Object></Delete>\n",
            "<s3:Delete xmlns:s3=\"http://s3.amazonaws.com/doc/2006-03-01/\"><s3:Object><s3:Key>a</s3:Key></s3:Object>\
             <s3:Object><s3:Key>&#x62;</s3:Key></s3:Object></s3:Delete>",
        ] {
            assert_eq!(keys(text).unwrap(), ["a", "b"], "{text}");
        }
        assert_eq!(
            keys("<Delete><Object><Key>&amp;&lt;<![CDATA[<]]>&#13;é</Key></Object></Delete>")
                .unwrap(),
            ["&<<\ré"]
        );
    }

    #[test]
    fn a_key_keeps_the_blanks_around_it() {
        let text = "<Delete><Object><Key> a </Key></Object><Object><Key>\n</Key></Object></Delete>";
        let delete: Delete = parse(text.as_bytes(), "Delete").unwrap();
        assert_eq!((delete.objects[0].key.as_str(), delete.objects[1].key.as_str()), (" a ", "\n"));
    }

    #[test]
    fn what_is_no_such_document_is_malformed() {
        let deep = format!("<Delete>{}{}</Delete>", "<a>".repeat(100_000), "</a>".repeat(100_000));
        for text in [
            "",
            "Delete",
            "<Delete>",
            "<Delete></Create>",
            "<Create/>",
            "<Delete/><Delete/>",
            "<Delete/>x",
            "<Delete><Object></Delete>",
            "<Delete><Object/></Delete>",
            "<!DOCTYPE x [<!ENTITY a \"b\">]><Delete><Object><Key>&a;</Key></Object></Delete>",
            "<Delete><Object><Key>&unknown;</Key></Object></Delete>",
            &deep,
        ] {
            let error = parse::<Delete>(text.as_bytes(), "Delete").unwrap_err();
            assert_eq!(error.code, Code::MalformedXML, "{}", &text[..text.len().min(80)]);
        }
        assert!(parse::<Delete>(b"<Delete>\xFF</Delete>", "Delete").is_err());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(key in "[\\PC\\t\\n\\r]{1,20}") {
            prop_assume!(is_representable(&key));
            let document = to_xml("Delete", &delete(&[&key])).unwrap();
            prop_assert_eq!(parse::<Delete>(&document, "Delete").unwrap(), delete(&[&key]));
        }

        #[test]
        fn what_is_representable_consists_of_characters(text in "[\\x00-\\x7F\u{FFF0}-\u{FFFF}\u{10FFFF}]{0,4}") {
            prop_assert_eq!(is_representable(&text), text.chars().all(is_character));
        }

        #[test]
        fn any_bytes_are_read_or_refused(text in "[<>/a-cDelete&;#x0-9 =\"\\]\\[!?-]{0,60}") {
            let _ = parse::<Delete>(text.as_bytes(), "Delete");
            let _ = parse::<Delete>(format!("<Delete>{text}</Delete>").as_bytes(), "Delete");
        }
    }
}
