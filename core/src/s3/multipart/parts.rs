//! The part list of a CompleteMultipartUpload: what the client names, checked against what was uploaded, and what follows from
//! it: the object's length, entity tag, checksum and manifest. Pure.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html>
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>

use serde::Deserialize;

use crate::{
    checksum::{Algorithm, Checksum, ChecksumKind, Scope},
    s3::{
        digest,
        error::{Code, S3Error},
        xml,
    },
    table::upload::{ManifestPart, ManifestRow, PartRow},
};

/// The greatest part number, and so the greatest number of parts.
pub const PARTS_MAX: u16 = 10_000;

/// The least length of a part that others follow, in bytes.
pub const PART_MIN: u64 = 5 << 20;

/// The greatest length of one part, and of what one request may copy: 5 GiB.
pub const PART_LEN_MAX: u64 = 5 << 30;

/// The greatest length of an object: 5 TiB.
pub const OBJECT_MAX: u64 = 5 << 40;

/// One line of the client's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The part's number.
    pub number: u16,
    /// Its entity tag, without quotes.
    pub etag: String,
    /// The checksum named beside it, not yet decoded.
    pub checksum: Option<(Algorithm, String)>,
}

#[derive(Deserialize)]
struct ListXml {
    #[serde(rename = "Part", default)]
    parts: Vec<PartXml>,
}

#[derive(Deserialize)]
struct PartXml {
    #[serde(rename = "PartNumber")]
    number: String,
    #[serde(rename = "ETag")]
    etag: String,
    #[serde(rename = "ChecksumCRC32")]
    crc32: Option<String>,
    #[serde(rename = "ChecksumCRC32C")]
    crc32c: Option<String>,
    #[serde(rename = "ChecksumCRC64NVME")]
    crc64nvme: Option<String>,
    #[serde(rename = "ChecksumSHA1")]
    sha1: Option<String>,
    #[serde(rename = "ChecksumSHA256")]
    sha256: Option<String>,
}

impl PartXml {
    fn checksum(self) -> Option<(Algorithm, String)> {
        let named = [
            (Algorithm::Crc32, self.crc32),
            (Algorithm::Crc32c, self.crc32c),
            (Algorithm::Crc64Nvme, self.crc64nvme),
            (Algorithm::Sha1, self.sha1),
            (Algorithm::Sha256, self.sha256),
        ];
        named.into_iter().find_map(|(algorithm, value)| Some((algorithm, value?)))
    }
}

/// The list in a request's body: not empty, in ascending order of part numbers.
pub fn parse(body: &[u8]) -> Result<Vec<Listed>, S3Error> {
    let list: ListXml = xml::parse(body, "CompleteMultipartUpload")?;
    if list.parts.is_empty() {
        return Err(S3Error::new(Code::MalformedXML, "You must specify at least one part"));
    }
    let mut parts = Vec::with_capacity(list.parts.len().min(usize::from(PARTS_MAX)));
    let mut before = 0;
    for part in list.parts {
        let number = number(part.number.trim())?;
        if number <= before {
            return Err(S3Error::new(
                Code::InvalidPartOrder,
                "The list of parts was not in ascending order. Parts must be ordered by part number.",
            ));
        }
        before = number;
        let etag = part.etag.trim().trim_matches('"').to_ascii_lowercase();
        parts.push(Listed { number, etag, checksum: part.checksum() });
    }
    Ok(parts)
}

/// The part number in this text.
pub fn number(text: &str) -> Result<u16, S3Error> {
    match text.parse() {
        Ok(number) if (1..=PARTS_MAX).contains(&number) => Ok(number),
        Ok(_) | Err(_) => Err(S3Error::new(
            Code::InvalidArgument,
            format!("Part number must be an integer between 1 and {PARTS_MAX}, inclusive"),
        )),
    }
}

/// The parts that the object will consist of, with their offsets: every listed part as it is stored, if it is stored so.
pub fn chosen<'a>(
    listed: &[Listed],
    stored: impl Fn(u16) -> Option<&'a PartRow>,
) -> Result<Vec<ManifestPart>, S3Error> {
    let mut offset = 0_u64;
    let mut parts = Vec::with_capacity(listed.len());
    for (at, line) in listed.iter().enumerate() {
        let part = stored(line.number).filter(|part| matches(line, part));
        let Some(part) = part else { return Err(invalid_part(line.number)) };
        if at + 1 < listed.len() && part.size < PART_MIN {
            return Err(S3Error::new(
                Code::EntityTooSmall,
                format!(
                    "Your proposed upload is smaller than the minimum allowed size: part {} has {} bytes, and a part that \
                     others follow needs {PART_MIN}",
                    line.number, part.size
                ),
            ));
        }
        parts.push(ManifestPart { number: line.number, offset, part: part.clone() });
        // 10,000 parts of 5 GiB do not come near the end of u64.
        offset += part.size;
    }
    if offset > OBJECT_MAX {
        return Err(S3Error::new(
            Code::EntityTooLarge,
            format!("Your proposed upload exceeds the maximum allowed size of {OBJECT_MAX} bytes"),
        ));
    }
    Ok(parts)
}

fn matches(line: &Listed, part: &PartRow) -> bool {
    let checksum = match (&line.checksum, &part.checksum) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some((algorithm, value)), Some(stored)) => {
            let value = algorithm.decode(value.trim().as_bytes());
            *algorithm == stored.algorithm && value.as_deref() == Some(&stored.value[..])
        }
    };
    part.etag == line.etag && checksum
}

fn invalid_part(number: u16) -> S3Error {
    S3Error::new(
        Code::InvalidPart,
        format!(
            "One or more of the specified parts could not be found. Part {number} may not have been uploaded, or its entity tag \
             or checksum is not the one listed."
        ),
    )
}

/// The length of an object of these parts.
pub fn len(parts: &[ManifestPart]) -> u64 {
    parts.last().map_or(0, |part| part.offset + part.part.size)
}

/// The entity tag of an object made of parts with these entity tags; `None` if one of them is no MD5.
pub fn etag<'a>(etags: impl Iterator<Item = &'a str>) -> Option<String> {
    let md5 = |etag: &str| {
        let mut md5 = [0; 16];
        hex::decode_to_slice(etag, &mut md5).ok().map(|()| md5)
    };
    let digests: Vec<[u8; 16]> = etags.map(md5).collect::<Option<_>>()?;
    Some(digest::multipart_etag(&digests))
}

/// The object's checksum of the kind that the upload asked for; `None` if a part lacks one.
pub fn checksum(parts: &[ManifestPart], kind: ChecksumKind) -> Option<Checksum> {
    let checksums = parts.iter().map(|part| part.part.checksum.as_ref());
    let values = checksums.map(|checksum| {
        checksum.filter(|each| each.algorithm == kind.algorithm).map(|each| &each.value[..])
    });
    let values: Vec<&[u8]> = values.collect::<Option<_>>()?;
    match kind.scope {
        Scope::Composite => digest::composite(kind.algorithm, values),
        Scope::FullObject => {
            let lengths = parts.iter().map(|part| part.part.size);
            digest::full_object(kind.algorithm, values.into_iter().zip(lengths))
        }
    }
}

/// The manifest's pages, and the offset in the object at which each begins.
pub fn pages(parts: Vec<ManifestPart>) -> (Vec<ManifestRow>, Vec<u64>) {
    let mut rows = Vec::with_capacity(parts.len().div_ceil(ManifestRow::PAGE));
    let mut offsets = Vec::with_capacity(rows.capacity());
    let mut parts = parts.into_iter().peekable();
    while let Some(first) = parts.peek() {
        offsets.push(first.offset);
        rows.push(ManifestRow {
            parts: parts.by_ref().take(ManifestRow::PAGE).collect(),
            completion: None,
        });
    }
    (rows, offsets)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::id::VersionId;

    const MD5_A: &str = "0cc175b9c0f1b6a831c399e269772661";
    const MD5_B: &str = "92eb5ffee6ae2fec3ad71c777531578f";

    fn row(etag: &str, size: u64) -> PartRow {
        PartRow {
            data: VersionId::default(),
            size,
            block_max: 1 << 20,
            etag: etag.to_owned(),
            checksum: None,
        }
    }

    fn line(number: u16, etag: &str) -> Listed {
        Listed { number, etag: etag.to_owned(), checksum: None }
    }

    fn code(result: Result<impl std::fmt::Debug, S3Error>) -> Code {
        result.expect_err("refused").code
    }

    fn xml_of(parts: &[(u32, &str)]) -> String {
        let lines = parts.iter().map(|(number, etag)| {
            format!("<Part><ETag>{etag}</ETag><PartNumber>{number}</PartNumber></Part>\n")
        });
        format!(
            "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\n{}</CompleteMultipartUpload>",
            lines.collect::<String>()
        )
    }

    #[test]
    fn a_list_is_read_with_and_without_quotes() {
        let body = xml_of(&[(1, "\"AB\""), (3, "&quot;cd&quot;"), (10_000, "ef")]);
        let list = parse(body.as_bytes()).expect("a good list");
        assert_eq!(list, [line(1, "ab"), line(3, "cd"), line(10_000, "ef")]);
    }

    #[test]
    fn a_list_must_ascend() {
        for numbers in [[2, 1], [1, 1]] {
            let body = xml_of(&numbers.map(|n| (n, "ab")));
            assert_eq!(code(parse(body.as_bytes())), Code::InvalidPartOrder);
        }
    }

    #[test]
    fn a_list_must_not_be_empty_or_odd() {
        assert_eq!(code(parse(xml_of(&[]).as_bytes())), Code::MalformedXML);
        assert_eq!(code(parse(b"<CompleteMultipartUpload>")), Code::MalformedXML);
        assert_eq!(code(parse(b"")), Code::MalformedXML);
        assert_eq!(code(parse(b"<Delete></Delete>")), Code::MalformedXML);
        for number in [0, 10_001, 70_000] {
            assert_eq!(code(parse(xml_of(&[(number, "ab")]).as_bytes())), Code::InvalidArgument);
        }
    }

    #[test]
    fn parts_are_laid_end_to_end() {
        let stored = BTreeMap::from([(1, row(MD5_A, PART_MIN)), (7, row(MD5_B, 1))]);
        let parts = chosen(&[line(1, MD5_A), line(7, MD5_B)], |number| stored.get(&number))
            .expect("both are there");
        assert_eq!(parts.iter().map(|part| part.offset).collect::<Vec<_>>(), [0, PART_MIN]);
        assert_eq!(len(&parts), PART_MIN + 1);
        let last = chosen(&[line(7, MD5_B)], |number| stored.get(&number))
            .expect("a part may be left out");
        assert_eq!(len(&last), 1);
    }

    #[test]
    fn a_part_must_be_there_as_listed() {
        let mut stored = BTreeMap::from([(1, row(MD5_A, 1))]);
        assert_eq!(
            code(chosen(&[line(2, MD5_A)], |number| stored.get(&number))),
            Code::InvalidPart
        );
        assert_eq!(
            code(chosen(&[line(1, MD5_B)], |number| stored.get(&number))),
            Code::InvalidPart
        );
        let mut with = line(1, MD5_A);
        with.checksum = Some((Algorithm::Crc32, "AAAAAQ==".to_owned()));
        assert_eq!(
            code(chosen(std::slice::from_ref(&with), |number| stored.get(&number))),
            Code::InvalidPart
        );
        let mut stored_with = |value: u8| {
            let (scope, value) = (Scope::FullObject, vec![0, 0, 0, value]);
            let checksum = Some(Checksum { algorithm: Algorithm::Crc32, scope, value });
            stored.insert(1, PartRow { checksum, ..row(MD5_A, 1) });
            chosen(std::slice::from_ref(&with), |number| stored.get(&number))
        };
        assert_eq!(code(stored_with(2)), Code::InvalidPart);
        assert_eq!(stored_with(1).expect("as listed").len(), 1);
    }

    #[test]
    fn all_but_the_last_part_have_a_least_length() {
        let stored = BTreeMap::from([(1, row(MD5_A, PART_MIN - 1)), (2, row(MD5_B, 1))]);
        let list = [line(1, MD5_A), line(2, MD5_B)];
        assert_eq!(code(chosen(&list, |number| stored.get(&number))), Code::EntityTooSmall);
    }

    #[test]
    fn an_object_has_a_greatest_length() {
        let stored: BTreeMap<u16, PartRow> =
            (1..=1025).map(|number| (number, row(MD5_A, PART_LEN_MAX))).collect();
        let list: Vec<_> = (1..=1025).map(|number| line(number, MD5_A)).collect();
        assert_eq!(
            len(&chosen(&list[..1024], |number| stored.get(&number)).expect("5 TiB")),
            OBJECT_MAX
        );
        assert_eq!(code(chosen(&list, |number| stored.get(&number))), Code::EntityTooLarge);
    }

    #[test]
    fn the_entity_tag_is_that_of_the_parts_digests() {
        // md5(unhex(MD5_A) + unhex(MD5_B)), by md5sum.
        let etag = etag([MD5_A, MD5_B].into_iter());
        assert_eq!(etag.as_deref(), Some("96e024ba2074fe77e8e965ba43a704be-2"));
        assert_eq!(super::etag(["xyz"].into_iter()), None);
    }

    fn with_checksum(number: u16, offset: u64, bytes: &[u8], algorithm: Algorithm) -> ManifestPart {
        let checksum = Some(digest::checksum(algorithm, bytes));
        let part = PartRow { checksum, ..row(MD5_A, bytes.len() as u64) };
        ManifestPart { number, offset, part }
    }

    #[test]
    fn a_full_checksum_is_that_of_the_whole() {
        for algorithm in [Algorithm::Crc32, Algorithm::Crc32c, Algorithm::Crc64Nvme] {
            let parts = [
                with_checksum(1, 0, b"12345", algorithm),
                with_checksum(2, 5, b"", algorithm),
                with_checksum(3, 5, b"6789", algorithm),
            ];
            let kind = ChecksumKind { algorithm, scope: Scope::FullObject };
            assert_eq!(checksum(&parts, kind), Some(digest::checksum(algorithm, b"123456789")));
        }
    }

    #[test]
    fn a_composite_checksum_is_that_of_the_checksums() {
        let algorithm = Algorithm::Sha256;
        let parts =
            [with_checksum(1, 0, b"12345", algorithm), with_checksum(2, 5, b"6789", algorithm)];
        let kind = ChecksumKind { algorithm, scope: Scope::Composite };
        let joined: Vec<u8> = parts
            .iter()
            .flat_map(|part| part.part.checksum.clone().expect("it has one").value)
            .collect();
        let expected = digest::checksum(algorithm, &joined).value;
        assert_eq!(checksum(&parts, kind).map(|checksum| checksum.value), Some(expected));
        let other = ChecksumKind { algorithm: Algorithm::Crc32, scope: Scope::Composite };
        assert_eq!(checksum(&parts, other), None);
    }

    #[test]
    fn a_manifest_is_cut_into_pages() {
        let part = |number: u16| ManifestPart {
            number,
            offset: u64::from(number) * 10,
            part: row(MD5_A, 10),
        };
        let (rows, offsets) = pages((0..1001).map(part).collect());
        assert_eq!(rows.iter().map(|row| row.parts.len()).collect::<Vec<_>>(), [500, 500, 1]);
        assert_eq!(offsets, [0, 5_000, 10_000]);
        assert_eq!(pages(Vec::new()), (vec![], vec![]));
    }
}
