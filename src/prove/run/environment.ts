import { type LifePlan, PLAN } from '../plan.ts'

type Env = Readonly<Record<string, string | undefined>>

/** Variables that clients of databases and brokers read by themselves. */
const ofClients = /^(?:PG[A-Z]+|MYSQL_.*|MARIADB_.*|MERSAL_.*)$/
/** An address of a database or a broker. */
const address =
  /^(?:postgres(?:ql)?|mysql|mariadb|sqlite|amqps?|nats|tls|rediss?|kafkas?|mongodb(?:\+srv)?):/i

/**
 * The environment of the program, in which no address of another database or broker is left, and
 * those of its place are where programs look for them.
 */
export function environment(env: Env, plan: LifePlan): Record<string, string> {
  const kept = Object.entries(env).filter(
    ([name, value]) => value !== undefined && !ofClients.test(name) && !address.test(value),
  ) as [string, string][]
  const { databaseUrl, brokerUrl } = plan
  return {
    ...Object.fromEntries(kept),
    [PLAN]: JSON.stringify(plan),
    DATABASE_URL: databaseUrl,
    ...(brokerUrl === undefined ? {} : { AMQP_URL: brokerUrl, RABBITMQ_URL: brokerUrl }),
  }
}
