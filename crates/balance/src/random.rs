//! Random choice by weight. It never looks at loads and keeps nothing between picks, so any number of
//! workers spread alike without knowing of each other.

use crate::alias::Alias;
use crate::{Cursor, Member, ServerId, Tried};

/// A random untried member, as often as its weight says.
#[inline]
pub(crate) fn pick(
    alias: &Alias,
    members: &[Member],
    cursor: &mut Cursor,
    tried: &Tried,
) -> Option<ServerId> {
    let member = alias.draw(members, cursor, |server| tried.contains(server))?;
    Some(member.id)
}
