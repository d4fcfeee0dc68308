//! What a listener demands of requests and does with them, made ready for use: the plan's words turned into indices,
//! guards and limiters. Immutable; only limiters and counters go on in it.

use std::fmt;
use std::sync::Arc;

use ringgate_config::{
    Auth, FieldChanges, Http, HttpLimits, LimitBy, PathPattern, PoolIndex, Redirect, Stages,
};

use crate::aim::Routes;
use crate::auth::Guard;
use crate::counters::HttpCounters;
use crate::limit::Limiter;
use crate::networks::Networks;

/// The rules of one listener.
#[derive(Debug)]
pub struct Rules {
    /// Whose word on the client is believed.
    pub(crate) trusted: Networks,
    /// The bounds of requests.
    pub(crate) limits: HttpLimits,
    /// Finds the place of a course, less one.
    pub(crate) routes: Routes,
    /// What is done with requests: first those that no route matched, then by route.
    pub(crate) courses: Box<[Course]>,
    /// What is counted.
    pub(crate) counters: Arc<HttpCounters>,
}

/// What is done with the requests of one route.
#[derive(Debug)]
pub(crate) struct Course {
    /// What log and metrics call it; `None` where no route matched.
    pub(crate) name: Option<Arc<str>>,
    /// Where they go, each pool with its share.
    pub(crate) pools: Vec<(PoolIndex, u32)>,
    /// The paths that it matches.
    pub(crate) paths: Vec<PathPattern>,
    /// What the path becomes.
    pub(crate) rewrite: Option<PathPattern>,
    pub(crate) guard: Option<Arc<Guard>>,
    pub(crate) require: Vec<String>,
    /// The limits that can be told before it is known whose request it is.
    pub(crate) early_limits: Vec<Arc<Limiter>>,
    /// Those of consumers.
    pub(crate) late_limits: Vec<Arc<Limiter>>,
    pub(crate) body_max: u64,
    pub(crate) redirect: Option<Redirect>,
    pub(crate) request_fields: FieldChanges,
    pub(crate) response_fields: FieldChanges,
}

/// What rules are made of.
pub struct Setup<'a> {
    /// The plan's words.
    pub http: &'a Http,
    /// Where requests go that no route matched.
    pub pool: Option<PoolIndex>,
    /// The guard of a way to authenticate.
    pub guard: &'a dyn Fn(&Auth) -> Arc<Guard>,
    /// How many workers there are.
    pub workers: usize,
}

impl Rules {
    /// Those that the plan asks for.
    pub fn new(setup: &Setup<'_>) -> Self {
        let http = setup.http;
        let shared = Limiter::all(&http.stages.rate_limits);
        let fallback = setup.pool.map(|pool| (pool, 1));
        let mut courses = vec![setup.course(&http.stages, shared.clone())];
        courses[0].pools.extend(fallback);
        for route in &http.routes {
            let limiters = match route.stages.counts_apart {
                true => Limiter::all(&route.stages.rate_limits),
                false => shared.clone(),
            };
            courses.push(Course {
                name: Some(route.name.as_str().into()),
                pools: route.pools.clone(),
                paths: route.path.clone(),
                rewrite: route.rewrite.clone(),
                ..setup.course(&route.stages, limiters)
            });
        }
        let names: Vec<_> = courses
            .iter()
            .filter_map(|course| course.name.clone())
            .collect();
        let counters = Arc::new(HttpCounters::new(setup.workers, &names));
        Self {
            trusted: Networks::new(&http.trusted_proxies),
            limits: http.limits,
            routes: Routes::new(&http.routes),
            courses: courses.into(),
            counters,
        }
    }

    /// What it counts.
    pub fn counters(&self) -> &Arc<HttpCounters> {
        &self.counters
    }
}

impl Setup<'_> {
    fn course(&self, stages: &Stages, limiters: Vec<Arc<Limiter>>) -> Course {
        let is_late = |limiter: &Arc<Limiter>| *limiter.by() == LimitBy::Consumer;
        let (late_limits, early_limits) = limiters.into_iter().partition(is_late);
        Course {
            name: None,
            pools: Vec::new(),
            paths: Vec::new(),
            rewrite: None,
            guard: stages.auth.as_ref().map(self.guard),
            require: stages.require.clone(),
            early_limits,
            late_limits,
            body_max: stages.body_max.unwrap_or(u64::MAX),
            redirect: stages.redirect.clone(),
            request_fields: stages.request_fields.clone(),
            response_fields: stages.response_fields.clone(),
        }
    }
}

impl fmt::Debug for Setup<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup")
            .field("http", self.http)
            .finish_non_exhaustive()
    }
}
