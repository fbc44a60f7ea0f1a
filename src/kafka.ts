export type { KafkaOptions, KafkaSasl, KafkaTls } from './transports/kafka/options.ts'
export { kafka, type KafkaTransport } from './transports/kafka/transport.ts'
