//! UploadPart: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPart.html>

use super::{Named, no_such_upload, parts};
use crate::{
    checksum::ChecksumKind,
    flow, quorum,
    s3::{
        call::{Call, Response},
        error::S3Error,
        ingest::{self, Ingested},
        object::{put, row},
        quota,
    },
    store::{Op, Outcome, Table},
    table::{
        self, key,
        upload::{PartRow, UploadRow},
    },
    task::Cx,
    time::Stamp,
};

/// Takes in the body as blocks and makes it the part of that number, in place of an earlier one.
pub(crate) async fn upload_part(cx: Cx, call: &Call) -> Result<Response, S3Error> {
    let named = Named::by(call)?;
    let number = number_of(call)?;
    // A part may be as long as an object that is sent in one piece.
    let len = put::check_length(call)?;
    let Opened { kind, seen } = open(&named, cx, call, number).await?;
    // The object is going to be at least as long.
    quota::check(cx, call, &named.target, len).await?;
    let mut intake = call.intake()?;
    if let Some(kind) = kind {
        // Its completion needs the part's checksum, whether or not the client sends one to be checked.
        intake.wants(kind.algorithm)?;
    }
    cx.open(intake);
    let view = &call.view;
    let first = cx.pull(view.config.block_size, view.config.inline_max).await?;
    let ingested = ingest::blocks(cx, view, named.target.position, first, seen).await?;
    let row = commit(cx, call, &named, number, &ingested).await?;
    let response = Response::empty(200).header("etag", format!("\"{}\"", row.etag));
    Ok(match &row.checksum {
        Some(checksum) => response.header(checksum.algorithm.header(), checksum.text(None)),
        None => response,
    })
}

/// The request's `partNumber`.
pub(crate) fn number_of(call: &Call) -> Result<u16, S3Error> {
    parts::number(call.request.query.get("partNumber").unwrap_or_default())
}

/// An upload that takes parts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opened {
    /// The checksum that its parts are to have.
    pub kind: Option<ChecksumKind>,
    /// When the part of that number was begun that is there already: a part sent again must be later, whatever the clock
    /// says by now, or it would lose to the one it replaces.
    pub seen: Stamp,
}

/// Asks, before any byte is taken in, whether the upload is open, and what there is of the part.
pub(crate) async fn open(
    named: &Named,
    cx: Cx,
    call: &Call,
    number: u16,
) -> Result<Opened, S3Error> {
    let (row, before) = if quorum::is_sole(&call.view, named.target.position) {
        (named.row(cx, call).await?, None)
    } else {
        let before = named.parts(cx, call, number, 1);
        let (row, before) = Box::pin(flow::join(named.row(cx, call), before)).await;
        (row?, Some(before?))
    };
    let kind = match row {
        UploadRow::Open { checksum, .. } => checksum,
        UploadRow::Closed { .. } => return Err(no_such_upload()),
    };
    let before = match before {
        Some(before) => before,
        None => named.parts(cx, call, number, 1).await?,
    };
    let before = before.first().filter(|(found, ..)| *found == number);
    let seen = before.map_or(Stamp(0), |(_, row, _)| row.data.stamp());
    Ok(Opened { kind, seen })
}

/// Makes the data that came in the part of that number, if the upload is still open. Otherwise the data is dropped.
pub(crate) async fn commit(
    cx: Cx,
    call: &Call,
    named: &Named,
    number: u16,
    ingested: &Ingested,
) -> Result<PartRow, S3Error> {
    let row = PartRow {
        data: ingested.data,
        size: ingested.summary.len,
        block_max: ingested.block_max,
        etag: hex::encode(ingested.summary.md5),
        checksum: ingested.summary.checksum.clone(),
    };
    let (view, position) = (&call.view, named.target.position);
    let op = Op::Merge {
        table: Table::Part,
        key: key::part(position, named.upload, number),
        value: table::encode(&row),
        inline: None,
    };
    let mut guards = vec![named.alive(view)];
    let sole = quorum::is_sole(view, position);
    if !sole {
        guards.extend(ingest::in_time(view, position, ingested.data));
    }
    match ingest::finish(cx, view, position, ingested, guards, vec![op]).await {
        Ok(Outcome::Applied(_)) => Ok(row),
        Ok(Outcome::Refused { guard }) => {
            if sole {
                ingest::discard(cx, view, position, ingested).await;
            }
            Err(if guard == 0 { no_such_upload() } else { row::given_up() })
        }
        Err(error) => {
            if sole {
                ingest::discard(cx, view, position, ingested).await;
            }
            Err(error)
        }
    }
}
