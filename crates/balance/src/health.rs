//! Health of one server: the verdicts of its checks, one after another, turned into a state.
//! It never runs a check and never waits; who asks when is the prober's business.

/// How many equal verdicts in a row change a server's state; 0 counts as 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Good verdicts in a row that bring a server up.
    pub rise: u32,
    /// Bad verdicts in a row that take a server down.
    pub fall: u32,
}

/// What is known of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// No verdict yet; it gets connections.
    Unknown,
    /// It gets connections.
    Up,
    /// It gets none.
    Down,
}

impl State {
    /// Whether a server in this state may get connections.
    pub fn is_usable(self) -> bool {
        self != State::Down
    }
}

/// The state that a verdict has just led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The server came up.
    Up,
    /// The server went down.
    Down,
}

/// The health of one server.
#[derive(Clone, Debug)]
pub struct Health {
    policy: Policy,
    state: State,
    /// Verdicts in a row that speak against the state.
    against: u32,
}

impl Health {
    /// A server of which nothing is known yet.
    pub fn new(policy: Policy) -> Health {
        Health {
            policy,
            state: State::Unknown,
            against: 0,
        }
    }

    /// The state that the verdicts so far led to.
    pub fn state(&self) -> State {
        self.state
    }

    /// Takes in one verdict. The very first decides at once, later ones as the policy says; the change
    /// is returned by the verdict that makes it.
    pub fn observe(&mut self, good: bool) -> Option<Change> {
        let needed = match (self.state, good) {
            (State::Up, true) | (State::Down, false) => {
                self.against = 0;
                return None;
            }
            (State::Unknown, _) => 1,
            (State::Down, true) => self.policy.rise,
            (State::Up, false) => self.policy.fall,
        };
        self.against += 1;
        if self.against < needed {
            return None;
        }
        self.against = 0;
        if good {
            self.state = State::Up;
            Some(Change::Up)
        } else {
            self.state = State::Down;
            Some(Change::Down)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cursor;

    /// The state after all these verdicts, found the plain way: by looking back over them.
    fn oracle(policy: Policy, verdicts: &[bool]) -> State {
        let run_of = |good: bool, end: usize| {
            let run = verdicts[..end].iter().rev().take_while(|&&v| v == good);
            run.count() as u32
        };
        let mut state = State::Unknown;
        for end in 1..=verdicts.len() {
            state = match state {
                State::Unknown if verdicts[0] => State::Up,
                State::Unknown => State::Down,
                State::Up if run_of(false, end) >= policy.fall.max(1) => State::Down,
                State::Down if run_of(true, end) >= policy.rise.max(1) => State::Up,
                unchanged => unchanged,
            };
        }
        state
    }

    #[test]
    fn any_verdicts_lead_where_the_oracle_says() {
        for seed in 0..500 {
            let mut random = Cursor::new(seed);
            let policy = Policy {
                rise: random.random_below(5) as u32,
                fall: random.random_below(5) as u32,
            };
            let mut health = Health::new(policy);
            let mut verdicts = Vec::new();
            for _ in 0..60 {
                let good = random.random_below(3) > 0;
                let before = health.state();
                let change = health.observe(good);
                verdicts.push(good);
                assert_eq!(
                    health.state(),
                    oracle(policy, &verdicts),
                    "{policy:?} {verdicts:?}"
                );
                let expected = match health.state() {
                    after if after == before => None,
                    State::Up => Some(Change::Up),
                    State::Down => Some(Change::Down),
                    State::Unknown => panic!("a verdict never leads back to unknown"),
                };
                assert_eq!(change, expected);
            }
        }
    }

    #[test]
    fn a_server_rises_and_falls_as_told() {
        let mut health = Health::new(Policy { rise: 2, fall: 3 });
        assert_eq!(health.state(), State::Unknown);
        assert!(health.state().is_usable());
        assert_eq!(health.observe(false), Some(Change::Down));
        assert!(!health.state().is_usable());
        assert_eq!(health.observe(true), None);
        assert_eq!(health.observe(false), None, "the row starts again");
        assert_eq!(health.observe(true), None);
        assert_eq!(health.observe(true), Some(Change::Up));
        assert_eq!(health.observe(false), None);
        assert_eq!(health.observe(false), None);
        assert_eq!(health.observe(false), Some(Change::Down));
    }
}
