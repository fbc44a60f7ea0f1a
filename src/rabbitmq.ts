export type { BundleOptions as RabbitBundleOptions } from './transports/rabbitmq/bundles/bundle-options.ts'
export { rabbitmq, type RabbitTransport } from './transports/rabbitmq/transport.ts'
export type { Connect as RabbitConnect, RabbitOptions } from './transports/rabbitmq/options.ts'
