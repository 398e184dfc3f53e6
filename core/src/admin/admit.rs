//! Who is let in, and to what.
//!
//! Whoever has the configuration's admin token may make every call, and whoever has its metrics token may read metrics; a token made by CreateAdminToken is for what its scope names,
//! until it expires. There is one answer to all others, 403, as Garage gives it.

use super::{
    auth::{Tokens, bearer, hashed, same},
    error::Error,
};
use crate::{
    quorum,
    s3::date,
    store::Table,
    table::{
        self,
        token::{AdminTokenRow, Scope},
    },
    task::Cx,
    time::Timestamp,
    view::View,
};

/// What stands for `/metrics` in the scope of a token.
pub(super) const METRICS: &str = "Metrics";

/// Whose token it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    /// A token of the configuration; or nobody's, where metrics are open.
    Configured,
    /// The token with this id.
    Token(String, Box<AdminTokenRow>),
}

/// Lets in whoever may do what `name` stands for in a scope: a call's name, or [`METRICS`].
pub(super) async fn admit(
    cx: Cx,
    view: &View,
    tokens: &Tokens,
    authorization: Option<&[u8]>,
    name: &str,
) -> Result<Holder, Error> {
    let configured = if name == METRICS {
        tokens.admits_to_metrics(authorization)
    } else {
        tokens.admits(authorization)
    };
    if configured {
        return Ok(Holder::Configured);
    }
    let Some(token) = authorization.and_then(bearer) else {
        return Err(Error::denied("the Authorization header must be `Bearer` and a token"));
    };
    let Some(id) = id_of(token) else { return Err(invalid()) };
    let now = cx.now().wall;
    let keys = vec![(Table::AdminToken, id.as_bytes().to_vec())];
    let own = quorum::get_local(cx, view, keys.clone()).await?.pop().flatten();
    let row = match checked(own.as_deref(), token, name, now) {
        // The own copy may lag behind: before somebody is refused, the others are asked.
        Err(_) if !quorum::is_sole_copy(view) && view.ring.version() > 0 => {
            let others = quorum::confirm(cx, view, keys).await?.pop().flatten();
            checked(others.as_deref(), token, name, now)?
        }
        checked => checked?,
    };
    Ok(Holder::Token(id.to_owned(), Box::new(row)))
}

/// The id in a token: what stands before the dot.
fn id_of(token: &[u8]) -> Option<&str> {
    let (id, _) = std::str::from_utf8(token).ok()?.split_once('.')?;
    is_id(id).then_some(id)
}

/// Whether a text is a token's id, as [`super::token`] makes them.
pub(super) fn is_id(text: &str) -> bool {
    text.len() == 24 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

fn invalid() -> Error {
    Error::denied("this token is not valid: there is none like it, or it was deleted")
}

/// The row of a token, if that is what it says.
fn checked(
    value: Option<&[u8]>,
    token: &[u8],
    name: &str,
    now: Timestamp,
) -> Result<AdminTokenRow, Error> {
    let row = value.map(|value| table::decode::<AdminTokenRow>(Table::AdminToken, value));
    let row = row.transpose().map_err(|error| Error::internal(error.to_string()))?;
    let row = row.filter(|row| same(&row.hash, &hashed(token)) && !row.deleted);
    let Some(row) = row else { return Err(invalid()) };
    if let Some(at) = row.expires.value.filter(|_| row.is_expired(now)) {
        return Err(Error::denied(format!("this token has expired at {}", date::iso8601(at))));
    }
    match &row.scope.value {
        scope if scope.covers(name) => Ok(row),
        Scope::Calls(names) if names.is_empty() => {
            Err(Error::denied(format!("this token is not for {name}: its scope is empty")))
        }
        Scope::Calls(names) => {
            let names: Vec<&str> = names.iter().map(|name| &**name).collect();
            let names = names.join(", ");
            Err(Error::denied(format!("this token is not for {name}: its scope is {names}")))
        }
        Scope::All => unreachable!("it covers every name"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{table::access::Lww, time::Stamp};

    const ID: &str = "0123456789abcdef01234567";

    fn row(scope: Scope, expires: Option<u64>) -> AdminTokenRow {
        let at = Stamp(1);
        AdminTokenRow {
            created: Timestamp(1),
            hash: hashed(format!("{ID}.secret").as_bytes()),
            deleted: false,
            name: Lww { at, value: String::new() },
            expires: Lww { at, value: expires.map(Timestamp) },
            scope: Lww { at, value: scope },
        }
    }

    #[test]
    fn a_token_does_what_its_scope_names_until_it_expires() {
        let check = |row: &AdminTokenRow, secret: &str, name: &str| {
            let (value, token) = (table::encode(row), format!("{ID}.{secret}"));
            let checked = checked(Some(&value), token.as_bytes(), name, Timestamp(100));
            checked.map(drop).map_err(|error| (error.status, error.message))
        };
        let all = row(Scope::All, None);
        assert_eq!(check(&all, "secret", "ListKeys"), Ok(()));
        assert_eq!(check(&all, "secret", METRICS), Ok(()));
        for (row, secret, says) in [
            (all.clone(), "secreT", "not valid"),
            (all.clone(), "", "not valid"),
            (AdminTokenRow { deleted: true, ..all.clone() }, "secret", "not valid"),
            (row(Scope::All, Some(100)), "secret", "expired at 1970-01-01T00:00:00.100Z"),
            (row(Scope::Calls([].into()), None), "secret", "scope is empty"),
        ] {
            let (status, message) = check(&row, secret, "ListKeys").expect_err(says);
            assert!(status == 403 && message.contains(says), "{status} {message}");
        }
        assert_eq!(check(&row(Scope::All, Some(101)), "secret", "ListKeys"), Ok(()));
        let narrow = Scope::Calls(["GetKeyInfo".to_owned(), "ListKeys".to_owned()].into());
        let narrow = row(narrow, None);
        assert_eq!(check(&narrow, "secret", "ListKeys"), Ok(()));
        let (_, message) = check(&narrow, "secret", "ListBuckets").expect_err("not named");
        assert!(message.contains("not for ListBuckets: its scope is GetKeyInfo, ListKeys"));
        assert!(checked(None, b"x", "ListKeys", Timestamp(1)).is_err());
    }

    #[test]
    fn the_id_of_a_token_stands_before_the_dot() {
        assert_eq!(id_of(format!("{ID}.x").as_bytes()), Some(ID));
        for token in ["", ".", ID, "0123.x", "0123456789ABCDEF01234567.x"] {
            assert_eq!(id_of(token.as_bytes()), None, "{token}");
        }
    }
}
