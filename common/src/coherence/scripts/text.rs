//! The scripts' texts, as Redis gets them.

use std::sync::LazyLock;

/// One of the scripts, in the order of [`SCRIPTS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::coherence) enum Script {
    Tag,
    Lease,
    Fill,
    Apply,
    Raise,
    Touch,
    Publish,
    Settle,
    Open,
    Bump,
}

pub(in crate::coherence) const SCRIPTS: [Script; 10] = [
    Script::Tag,
    Script::Lease,
    Script::Fill,
    Script::Apply,
    Script::Raise,
    Script::Touch,
    Script::Publish,
    Script::Settle,
    Script::Open,
    Script::Bump,
];

impl Script {
    /// The text that Redis gets: the script, with what all share put before its first command.
    pub(in crate::coherence) fn text(self) -> &'static str {
        static TEXTS: LazyLock<[String; 10]> = LazyLock::new(|| SCRIPTS.map(|script| with_lib(script.source())));
        &TEXTS[self as usize]
    }

    fn source(self) -> &'static str {
        match self {
            Self::Tag => include_str!("tag.lua"),
            Self::Lease => include_str!("lease.lua"),
            Self::Fill => include_str!("fill.lua"),
            Self::Apply => include_str!("apply.lua"),
            Self::Raise => include_str!("raise.lua"),
            Self::Touch => include_str!("touch.lua"),
            Self::Publish => include_str!("publish.lua"),
            Self::Settle => include_str!("settle.lua"),
            Self::Open => include_str!("open.lua"),
            Self::Bump => include_str!("bump.lua"),
        }
    }
}

/// A line of flags (`#!lua …`) has to stay the first.
fn with_lib(script: &str) -> String {
    let flags_len = if script.starts_with("#!") { script.find('\n').map_or(0, |end| end + 1) } else { 0 };
    let (flags, rest) = script.split_at(flags_len);
    [flags, include_str!("lib.lua"), rest].concat()
}
