export type { Connect as NatsConnect, NatsOptions } from './transports/nats/options.ts'
export { nats, type NatsTransport } from './transports/nats/transport.ts'
