//! The page that a browser shows for an error, where the website has none of its own.

use bytes::Bytes;
use quick_xml::escape::escape;

/// What it says.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    /// The status of the answer.
    pub status: u16,
    /// The error's name in S3.
    pub code: &'a str,
    /// What is wrong, and what to do.
    pub message: &'a str,
    /// What else there is to say.
    pub note: Option<&'a str>,
    /// The request's id, to be found again in the log.
    pub request: &'a str,
}

/// The media type of [`Page::to_html`].
pub const TYPE: &str = "text/html; charset=utf-8";

impl Page<'_> {
    /// The document. Whatever a client has sent stands in it as text, and never as markup.
    pub fn to_html(&self) -> Bytes {
        let Self { status, code, message, note, request } = *self;
        let title = format!("{status} {}", reason(status));
        let paragraphs = [Some(message), note].into_iter().flatten();
        let paragraphs: String =
            paragraphs.map(|text| format!("<p>{}</p>\n", escape(text))).collect();
        Bytes::from(format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>{title}</title></head>\n<body>\n\
             <h1>{title}</h1>\n{paragraphs}<p><small>{} &middot; request {}</small></p>\n</body>\n</html>\n",
            escape(code),
            escape(request)
        ))
    }
}

/// What a status is called (RFC 9110, section 15), of those that a website answers with.
pub fn reason(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        412 => "Precondition Failed",
        416 => "Range Not Satisfiable",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ if status < 500 => "Request Refused",
        _ => "Server Error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_golden() {
        let page = Page {
            status: 404,
            code: "NoSuchKey",
            message: "There is nothing at /a.",
            note: None,
            request: "0123",
        };
        let golden = include_str!("../../../testdata/web/404.html");
        assert_eq!(String::from_utf8_lossy(&page.to_html()), golden);
    }

    #[test]
    fn what_a_client_has_sent_is_no_markup() {
        let message = "There is nothing at /<script>alert('x')</script>&\".";
        let page =
            Page { status: 404, code: "NoSuchKey", message, note: Some("<b>"), request: "0" };
        let html = String::from_utf8(page.to_html().to_vec()).expect("UTF-8");
        assert!(!html.contains("<script") && !html.contains("<b>"), "{html}");
        assert!(
            html.contains("&lt;script&gt;alert(&apos;x&apos;)&lt;/script&gt;&amp;&quot;."),
            "{html}"
        );
    }
}
