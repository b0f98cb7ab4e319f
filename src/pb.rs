//! The wire types compiled from `proto/`, and the codec they travel in.
//!
//! The codec differs from tonic's own in one thing: its buffers start at 1 KiB, because tonic keeps the
//! encode buffer of every idle stream (8 KiB each; ten thousand streams are common here).

#![allow(
    clippy::all,
    clippy::allow_attributes,
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    reason = "generated code"
)]

use std::marker::PhantomData;

use prost::Message;
use tonic::codec::{BufferSettings, Codec};
use tonic_prost::{ProstCodec, ProstDecoder, ProstEncoder};

/// The descriptor set of everything below, for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// `SpiffeWorkloadAPI` and its messages. The standard gives them no package.
pub mod workload {
    tonic::include_proto!("_");
}

/// `dayfly.v1`: our own services.
pub mod admin {
    tonic::include_proto!("dayfly.v1");
}

/// Protobuf over gRPC with small buffers.
pub struct SmallCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for SmallCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for SmallCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = ProstDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<T, U>::raw_encoder(BufferSettings::new(1024, 32 * 1024))
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstCodec::<T, U>::raw_decoder(BufferSettings::new(512, 32 * 1024))
    }
}
