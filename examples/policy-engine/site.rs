//! A local authority and API, and applications that know them.

use std::error::Error;
use std::time::Duration;

use serde_json::json;
use symbolon::linker::{GuestCtx, GuestFlow, GuestPolicy};
use symbolon::{AgentIdentity, ApplicationId, ApplicationOptions, Symbolon};
use symbolon_authority::{Api, Registration, sample};
use symbolon_end_to_end::apis::{configure, of_tokens};
use symbolon_end_to_end::{GRAPH, World};

use crate::engine::{Application, Behaviour, Settings};

pub(crate) struct Site {
    pub(crate) world: World,
    pub(crate) api: Api,
    symbolon: Symbolon,
    options: ApplicationOptions,
}

impl Site {
    /// Starts it, on ports of the loopback address.
    pub(crate) async fn start() -> Result<Self, Box<dyn Error>> {
        let world = World::start().await;
        let api = world.api(of_tokens()).await;
        let symbolon = Symbolon::builder().build()?;
        let options = world.options("blueprint", |settings| configure(settings, &api, json!({})))?;
        Ok(Self { world, api, symbolon, options })
    }

    /// Registers the agent of an application.
    pub(crate) fn register(&self, number: usize) {
        self.world.authority.register(Registration::new(&agent(number)).agent_of(sample::BLUEPRINT));
    }

    /// An application of its own, whose policy gets tokens of its own agent for one API, and does `behaviour`.
    pub(crate) fn application(
        &self,
        number: usize,
        behaviour: Behaviour,
    ) -> Result<Application, Box<dyn Error>> {
        let id = format!("application-{number}");
        let options = self.options.clone().with_id(ApplicationId::new(id.as_str()));
        let policy = GuestPolicy::new()
            .allow_flow(GuestFlow::ForAgent(AgentIdentity::app_only(agent(number))))
            .allow_api(&self.api.url(), [GRAPH])?
            .rate(10_000, Duration::from_secs(10));
        let guest = GuestCtx::new(id, self.symbolon.application(options)?, policy);
        let (agent, neighbour) = (agent(number), agent(0));
        Ok(Application::new(guest, Settings { agent, neighbour, api: self.api.url(), behaviour }))
    }
}

/// The client id of an application's agent.
pub(crate) fn agent(number: usize) -> String {
    format!("44444444-0000-4000-8000-{number:012}")
}
