//! The two ways of xDS: the state of the world, where each answer has all that is asked for, and delta, where it has
//! what changed. What is asked and answered is the same.

use std::collections::HashMap;

use prost::Message;

use super::secret::{TYPE_URL, version_of_all};
use crate::{
    api::sealed::Wiped,
    pb::{
        Any,
        envoy::{
            config::core::v3::{ControlPlane, Node},
            service::discovery::v3::{
                DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse, Resource,
            },
        },
    },
};

/// What a message of a proxy says.
#[derive(Default, PartialEq)]
pub(super) struct Said {
    pub(super) node: Option<Node>,
    pub(super) type_url: String,
    /// Of the answer that this is about; empty where it is about none.
    pub(super) nonce: String,
    /// Why that answer was not taken.
    pub(super) error: Option<String>,
    pub(super) names: Names,
}

/// How a message changes what is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Names {
    /// To exactly these.
    Are(Vec<String>),
    /// By these.
    Change {
        more: Vec<String>,
        fewer: Vec<String>,
        /// What the proxy has from an earlier stream, with its version.
        had: HashMap<String, String>,
    },
}

impl Default for Names {
    fn default() -> Self {
        Self::Are(Vec::new())
    }
}

/// One secret as it leaves.
pub(super) struct Told {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) secret: Any,
}

/// What is answered.
#[derive(Default)]
pub(super) struct Answer {
    pub(super) nonce: String,
    pub(super) told: Vec<Told>,
    /// Names of secrets that the proxy has and is not given any more.
    pub(super) gone: Vec<String>,
}

/// A way to ask and to answer.
pub(super) trait Protocol: Send + 'static {
    type Request: Message + Default + Send + 'static;
    type Response: Wiped + Send + 'static;
    /// Whether an answer has all that is asked for, and not what changed alone.
    const IS_WHOLE: bool;
    /// For people.
    const NAME: &'static str;

    fn read(request: Self::Request) -> Said;
    fn write(answer: Answer) -> Self::Response;
}

/// `StreamSecrets` and `FetchSecrets`.
pub(super) struct StateOfTheWorld;

/// `DeltaSecrets`.
pub(super) struct Delta;

impl Protocol for StateOfTheWorld {
    type Request = DiscoveryRequest;
    type Response = DiscoveryResponse;
    const IS_WHOLE: bool = true;
    const NAME: &'static str = "state of the world";

    fn read(request: DiscoveryRequest) -> Said {
        Said {
            node: request.node,
            type_url: request.type_url,
            nonce: request.response_nonce,
            error: request.error_detail.map(|status| status.message),
            names: Names::Are(request.resource_names),
        }
    }

    fn write(answer: Answer) -> DiscoveryResponse {
        DiscoveryResponse {
            version_info: version(&answer.told),
            resources: answer.told.into_iter().map(|one| one.secret).collect(),
            type_url: TYPE_URL.to_owned(),
            nonce: answer.nonce,
            control_plane: control_plane(),
        }
    }
}

impl Protocol for Delta {
    type Request = DeltaDiscoveryRequest;
    type Response = DeltaDiscoveryResponse;
    const IS_WHOLE: bool = false;
    const NAME: &'static str = "delta";

    fn read(request: DeltaDiscoveryRequest) -> Said {
        Said {
            node: request.node,
            type_url: request.type_url,
            nonce: request.response_nonce,
            error: request.error_detail.map(|status| status.message),
            names: Names::Change {
                more: request.resource_names_subscribe,
                fewer: request.resource_names_unsubscribe,
                had: request.initial_resource_versions,
            },
        }
    }

    fn write(answer: Answer) -> DeltaDiscoveryResponse {
        let system_version_info = version(&answer.told);
        let resources = answer.told.into_iter();
        DeltaDiscoveryResponse {
            system_version_info,
            resources: resources
                .map(|Told { name, version, secret }| Resource { version, resource: Some(secret), name })
                .collect(),
            type_url: TYPE_URL.to_owned(),
            nonce: answer.nonce,
            removed_resources: answer.gone,
            control_plane: control_plane(),
        }
    }
}

fn version(told: &[Told]) -> String {
    version_of_all(told.iter().map(|one| (one.name.as_str(), one.version.as_str())))
}

fn control_plane() -> Option<ControlPlane> {
    Some(ControlPlane { identifier: concat!("dayfly ", env!("CARGO_PKG_VERSION")).to_owned() })
}

// What is secret in them wipes itself when it is dropped.
impl Wiped for DiscoveryResponse {}
impl Wiped for DeltaDiscoveryResponse {}
