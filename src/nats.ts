export type {
  Connect as NatsConnect,
  NatsClient,
  NatsOptions,
  NatsTls,
} from './transports/nats/options.ts'
export { nats, type NatsTransport } from './transports/nats/transport.ts'
