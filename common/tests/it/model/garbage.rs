//! What others leave under our keys: other types, other formats, parts of our own.

use super::call::Place;

/// No garbage is longer than this, and no control record shorter.
pub const LEN_MAX: usize = 70;

/// The commands that put the `which`-th kind of garbage under `name`. It goes away by itself where ours would.
pub fn commands(name: &str, place: Place, which: u8) -> Vec<redis::Cmd> {
    let put = match which {
        0 => ready("RPUSH", name, &[b"a", b"b"]),
        1 => ready("SADD", name, &[b"a"]),
        2 => ready("ZADD", name, &[b"1", b"a"]),
        3 => ready("HSET", name, &[b"a", b"b"]),
        4 => ready("XADD", name, &[b"*", b"a", b"b"]),
        5 => ready("SET", name, &[b"x"]),
        6 => ready("SET", name, &[&another_format()]),
        _ => ready("SET", name, &[&cut_short(place)]),
    };
    let mut commands = vec![ready("DEL", name, &[]), put];
    if !matches!(place, Place::Ctl(_) | Place::Fences(_)) {
        commands.push(ready("PEXPIRE", name, &[b"300000"]));
    }
    commands
}

fn ready(command: &str, name: &str, args: &[&[u8]]) -> redis::Cmd {
    let mut ready = redis::cmd(command);
    ready.arg(name).arg(args);
    ready
}

/// Long enough for anything's fixed part, but of a format that nobody knows.
fn another_format() -> [u8; LEN_MAX] {
    [2; LEN_MAX]
}

/// The right format, but a part is missing: of an entry one of the running xids, three of which its head says are there.
fn cut_short(place: Place) -> Vec<u8> {
    let mut bytes = vec![0; if matches!(place, Place::Value(..)) { 60 + 2 * 8 } else { 55 }];
    bytes[0] = 1;
    if let Place::Value(..) = place {
        bytes[2] = 3;
        bytes[36] = 1; // xmin
        bytes[50] = 0x20; // xmax 2^53, so that every xid has to be looked for
    }
    bytes
}
