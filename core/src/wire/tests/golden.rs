//! The bytes of version 1, pinned: a release that changes them no longer speaks with its neighbours.

use super::*;

const GOLDEN: &str = include_str!("../../../../testdata/wire/version-1.txt");

/// Everything that both ends say, from fixed keys and seeds, up to one answered request.
fn conversation(aes: bool) -> String {
    let (one, other) = (Identity { aes, ..identity(1) }, Identity { aes, ..identity(2) });
    let mut pair = Pair::of(&one, &other, Some(other.id));
    let mut text = String::new();
    let asked = pair.ask(Priority::Request, message(b"head", 6));
    for _ in 0..8 {
        pair.dialer.poll_output(pair.now, &mut pair.to_acceptor);
        pair.acceptor.poll_output(pair.now, &mut pair.to_dialer);
        for (who, bytes) in [("dialer", &pair.to_acceptor), ("acceptor", &pair.to_dialer)] {
            if !bytes.is_empty() {
                text.push_str(&format!("{who} {}\n", hex::encode(bytes)));
            }
        }
        pair.acceptor.handle_input(pair.now, &mut pair.to_acceptor).expect("honest");
        pair.dialer.handle_input(pair.now, &mut pair.to_dialer).expect("honest");
        while let Some(event) = pair.acceptor.poll_event() {
            if let Event::Request { stream, .. } = event {
                pair.acceptor.respond(pair.now, stream, message(b"answer", 0));
            }
        }
    }
    let told = std::iter::from_fn(|| pair.dialer.poll_event()).last();
    let result = Ok(message(b"answer", 0));
    assert_eq!(told, Some(Event::Response { stream: asked, result }));
    text
}

#[test]
fn version_1_is_spoken_as_it_was_released() {
    let found = format!(
        "# Noise_XXpsk3_25519_AESGCM_BLAKE2s\n{}# Noise_XXpsk3_25519_ChaChaPoly_BLAKE2s\n{}",
        conversation(true),
        conversation(false)
    );
    assert_eq!(found, GOLDEN, "neighbouring releases would no longer understand each other");
}
