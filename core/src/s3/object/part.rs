//! The parts of a completed multipart object, looked up by number.

use std::ops::Range;

use crate::{
    s3::{
        call::{Call, Target},
        egress::manifest_page,
        error::{Code, S3Error},
    },
    table::{
        object::{Content, Parts},
        upload::{ManifestPart, ManifestRow},
    },
    task::Cx,
    view::View,
};

/// The highest part number.
const NUMBER_MAX: u16 = 10_000;

/// What `partNumber` asks of an object.
#[derive(Clone, Debug)]
pub enum AskedPart {
    /// This part of a multipart object.
    Of(ManifestPart),
    /// The first part of an object that was not uploaded in parts: the whole.
    Whole,
}

impl AskedPart {
    /// Where it is in an object of `size` bytes.
    pub fn range(&self, size: u64) -> Range<u64> {
        match self {
            Self::Of(part) => part.offset..part.offset + part.part.size,
            Self::Whole => 0..size,
        }
    }
}

/// The parameter `partNumber` of a request, if it has one.
pub fn number(call: &Call) -> Result<Option<u16>, S3Error> {
    let Some(text) = call.request.query.get("partNumber") else { return Ok(None) };
    let number = text.parse().ok().filter(|number| (1..=NUMBER_MAX).contains(number));
    match number {
        Some(number) => Ok(Some(number)),
        None => Err(S3Error::invalid_argument(
            "partNumber",
            text,
            "Part number must be an integer between 1 and 10000, inclusive",
        )),
    }
}

/// The part of that number.
pub async fn find(
    cx: Cx,
    view: &View,
    target: &Target,
    content: &Content,
    number: u16,
) -> Result<AskedPart, S3Error> {
    let found = match content {
        Content::Deleted | Content::Inline(_) | Content::Blocks(..) => {
            (number == 1).then_some(AskedPart::Whole)
        }
        Content::Parts(_, parts) => {
            in_manifest(cx, view, target, parts, number).await?.map(AskedPart::Of)
        }
    };
    found.ok_or_else(|| {
        S3Error::new(Code::InvalidPartNumber, "The requested partnumber is not satisfiable")
            .detail("PartNumberRequested", number.to_string())
    })
}

async fn in_manifest(
    cx: Cx,
    view: &View,
    target: &Target,
    parts: &Parts,
    number: u16,
) -> Result<Option<ManifestPart>, S3Error> {
    // Numbers ascend and may have gaps, so the part is on this page or before.
    let mut page = usize::from(number - 1) / ManifestRow::PAGE;
    page = page.min(parts.pages.len().saturating_sub(1));
    loop {
        let number_of_page = u16::try_from(page).expect("20 pages hold all parts");
        let rows = manifest_page(cx, view, target.position, parts, number_of_page).await?;
        if page > 0 && rows.first().is_some_and(|first| first.number > number) {
            page -= 1;
            continue;
        }
        return Ok(rows.into_iter().find(|part| part.number == number));
    }
}
