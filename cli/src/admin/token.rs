//! `mews token`.

use std::time::Duration;

use argh::{ArgsInfo, FromArgs};
use serde_json::{Map, Value, json};

use super::{
    Client, Done, Failure,
    confirm::confirm,
    expire, find,
    value::{expiry, list, moment, span, text, words},
};
use crate::page::{Page, row};

/// Tokens of the Admin API, each for what it is meant for.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "token",
    example = "  {command_name} create monitoring --scope GetClusterHealth,Metrics\n  {command_name} list"
)]
pub struct Token {
    #[argh(subcommand)]
    command: TokenCommand,
}

#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand)]
enum TokenCommand {
    List(TokenList),
    Info(TokenInfo),
    Create(TokenCreate),
    Set(TokenSet),
    Delete(TokenDelete),
}

/// All admin tokens.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "list")]
struct TokenList {}

/// What a token may do.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "info")]
struct TokenInfo {
    /// its id or its name, or the beginning of either (default: the one in use)
    #[argh(positional)]
    token: Option<String>,
}

/// Make a token and print it: it is shown this once.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "create",
    example = "  {command_name} monitoring --scope GetClusterHealth,Metrics --expires-in 1y"
)]
struct TokenCreate {
    /// what people call it
    #[argh(positional)]
    name: String,
    /// calls that it may make, with commas between them; * for all
    #[argh(option, arg_name = "calls")]
    scope: String,
    /// how long it is valid: 12h, 30d, 1y (default: for ever)
    #[argh(option, arg_name = "duration", from_str_fn(span))]
    expires_in: Option<Duration>,
}

/// Change a token.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "set")]
struct TokenSet {
    /// its id or its name, or the beginning of either
    #[argh(positional)]
    token: String,
    /// what people call it from now on
    #[argh(option)]
    name: Option<String>,
    /// calls that it may make from now on, with commas between them; * for all
    #[argh(option, arg_name = "calls")]
    scope: Option<String>,
    /// how long it is valid from now on: 12h, 30d, 1y
    #[argh(option, arg_name = "duration", from_str_fn(span))]
    expires_in: Option<Duration>,
    /// it is valid for ever
    #[argh(switch)]
    never_expires: bool,
}

/// Delete a token. Whoever uses it is shut out.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "delete")]
struct TokenDelete {
    /// its id, the beginning of that, or its whole name
    #[argh(positional)]
    token: String,
    /// do not ask
    #[argh(switch)]
    yes: bool,
}

/// `mews token`.
pub fn token(client: &Client, args: Token) -> Result<Done, Failure> {
    match args.command {
        TokenCommand::List(_) => Ok(Done::new(client.get("ListAdminTokens", &[])?, tokens)),
        TokenCommand::Info(args) => {
            let json = match args.token {
                Some(token) => {
                    let id = find_one(client, &token)?;
                    client.get("GetAdminTokenInfo", &[("id", &id)])?
                }
                None => client.get("GetCurrentAdminTokenInfo", &[])?,
            };
            Ok(Done::new(json, info))
        }
        TokenCommand::Create(args) => {
            let mut body = expire::change(args.expires_in, false)?.unwrap_or_default();
            body.insert("name".to_owned(), json!(args.name));
            body.insert("scope".to_owned(), scope(&args.scope)?);
            Ok(Done::new(client.post("CreateAdminToken", &Value::Object(body))?, created))
        }
        TokenCommand::Set(args) => {
            let body = change(&args)?;
            let id = find_one(client, &args.token)?;
            let json = client.post_at("UpdateAdminToken", &[("id", &id)], &Value::Object(body))?;
            Ok(Done::new(json, info))
        }
        TokenCommand::Delete(args) => {
            let all = find::tokens(client)?;
            let token = find::exactly(find::TOKENS, &all, &args.token)?;
            let name = token.names.first().map(|name| format!(" ({name})")).unwrap_or_default();
            let shown = format!("{}{name}", token.id);
            confirm(args.yes, &format!("this deletes the admin token {shown} for good"))?;
            let json = client.act("DeleteAdminToken", &[("id", &token.id)])?;
            Ok(Done::said(json, Page::new().line(format!("{shown} is deleted."))))
        }
    }
}

fn find_one(client: &Client, wanted: &str) -> Result<String, Failure> {
    Ok(find::one(find::TOKENS, &find::tokens(client)?, wanted)?.id.clone())
}

fn scope(text: &str) -> Result<Value, Failure> {
    let calls: Vec<&str> = text.split(',').map(str::trim).filter(|call| !call.is_empty()).collect();
    if calls.is_empty() {
        return Err(Failure::Usage("--scope: name at least one call, or *".to_owned()));
    }
    Ok(json!(calls))
}

fn change(args: &TokenSet) -> Result<Map<String, Value>, Failure> {
    let mut body = expire::change(args.expires_in, args.never_expires)?.unwrap_or_default();
    if let Some(name) = &args.name {
        body.insert("name".to_owned(), json!(name));
    }
    if let Some(calls) = &args.scope {
        body.insert("scope".to_owned(), scope(calls)?);
    }
    if body.is_empty() {
        let reason = "say what to change: --name, --scope, --expires-in or --never-expires";
        return Err(Failure::Usage(reason.to_owned()));
    }
    Ok(body)
}

/// Of `ListAdminTokens`.
fn tokens(tokens: &Value) -> Page {
    let mut rows = vec![row(&["token", "name", "created", "expires", "scope"])];
    for token in list(tokens) {
        rows.push(vec![
            text(&token["id"]),
            text(&token["name"]),
            moment(&token["created"]),
            expiry(token),
            words(&token["scope"]),
        ]);
    }
    Page::new().table(rows)
}

/// Of `GetAdminTokenInfo`.
fn info(token: &Value) -> Page {
    let rows = [
        ("token", text(&token["id"])),
        ("name", text(&token["name"])),
        ("created", moment(&token["created"])),
        ("expires", expiry(token)),
        ("scope", words(&token["scope"])),
    ];
    Page::new().pairs(rows.map(|(name, value)| vec![name.to_owned(), value]).to_vec())
}

/// Of `CreateAdminToken`.
fn created(token: &Value) -> Page {
    info(token)
        .pairs(vec![vec!["secret ".to_owned(), text(&token["secretToken"])]])
        .gap()
        .line("Keep the secret: it is shown this once. Use it with --token or MEWS_ADMIN_TOKEN.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::Screen;

    fn a_token() -> Value {
        json!({
            "id": "a1b2", "name": "monitoring", "created": "2026-11-30T01:02:03Z",
            "expiration": null, "expired": false, "scope": ["GetClusterHealth", "Metrics"],
            "secretToken": "a1b2.5ec2e7",
        })
    }

    #[test]
    fn a_new_token_is_shown_with_its_secret() {
        let expected = "\
token    a1b2
name     monitoring
created  2026-11-30T01:02:03Z
expires  never
scope    GetClusterHealth, Metrics
secret   a1b2.5ec2e7

Keep the secret: it is shown this once. Use it with --token or MEWS_ADMIN_TOKEN.
";
        assert_eq!(created(&a_token()).render(Screen::default()), expected);
    }

    #[test]
    fn a_token_of_the_configuration_has_no_id() {
        let answer = json!([a_token(), {
            "id": null, "name": "admin_token (from the configuration)", "created": null,
            "expiration": null, "expired": false, "scope": ["*"],
        }]);
        let expected = "\
token  name                                  created               expires  scope
a1b2   monitoring                            2026-11-30T01:02:03Z  never    GetClusterHealth, Metrics
-      admin_token (from the configuration)  -                     never    *
";
        assert_eq!(tokens(&answer).render(Screen::default()), expected);
    }

    #[test]
    fn a_scope_is_a_list_of_calls() {
        assert_eq!(scope("A, B,").ok(), Some(json!(["A", "B"])));
        assert_eq!(scope("*").ok(), Some(json!(["*"])));
        assert!(matches!(scope(" , "), Err(Failure::Usage(_))));
    }
}
