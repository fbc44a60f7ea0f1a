export { rabbitIsHere } from '../../scripts/servers/given.ts'
export {
  openPrivateBroker,
  type Place,
  type PrivateBroker,
} from '../../scripts/servers/rabbitmq.ts'

export { openVhost, type Vhost } from '../../scripts/servers/vhost.ts'

/** A user of a private broker, whose password must never be seen anywhere. */
export const canary = { name: 'shop', password: 'canary-s3cret' }
