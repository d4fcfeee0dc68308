//! How requests of one route are split between pools. The chance is the caller's: the same number gives the same
//! pool.

use ringgate_config::PoolIndex;

/// A pool, as often over all values of `random` as its share says; `None` when there is none with a share.
pub fn pick(pools: &[(PoolIndex, u32)], random: u64) -> Option<PoolIndex> {
    if let [(pool, 1..)] = pools {
        return Some(*pool);
    }
    let total: u64 = pools.iter().map(|(_, share)| u64::from(*share)).sum();
    let mut place = ((u128::from(total) * u128::from(random)) >> 64) as u64;
    for (pool, share) in pools {
        let share = u64::from(*share);
        if place < share {
            return Some(*pool);
        }
        place -= share;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pool_gets_its_share() {
        let pools = [(PoolIndex(7), 90), (PoolIndex(3), 0), (PoolIndex(5), 10)];
        let step = u64::MAX / 1000 + 1;
        let count = |pool| {
            let picks = (0..1000).map(|turn| pick(&pools, turn * step));
            picks
                .filter(|found| *found == Some(PoolIndex(pool)))
                .count()
        };
        assert_eq!((count(7), count(3), count(5)), (900, 0, 100));
        assert_eq!(pick(&pools, 0), Some(PoolIndex(7)));
        assert_eq!(pick(&pools, u64::MAX), Some(PoolIndex(5)));
        let most = [(PoolIndex(0), u32::MAX), (PoolIndex(1), u32::MAX)];
        assert_eq!(pick(&most, u64::MAX), Some(PoolIndex(1)));
    }

    #[test]
    fn one_pool_gets_all_and_none_none() {
        assert_eq!(pick(&[(PoolIndex(2), 1)], u64::MAX), Some(PoolIndex(2)));
        assert_eq!(pick(&[], 0), None);
        assert_eq!(pick(&[(PoolIndex(2), 0)], 5), None);
    }
}
