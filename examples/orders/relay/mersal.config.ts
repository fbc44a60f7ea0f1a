/** For `mersal relay`, `mersal status` and the others: the database of the shop, and the broker. */
import { defineConfig } from '../../../src/cli/index.ts' // in your program: 'mersal/cli'
import { postgres } from '../../../src/postgres.ts' // 'mersal/postgres'
import { rabbitmq } from '../../../src/rabbitmq.ts' // 'mersal/rabbitmq'
import { openPool } from '../database.ts'
import { required } from '../environment.ts'

export default defineConfig(() => {
  const pool = openPool()
  return {
    name: 'shop',
    store: postgres({ pool }),
    transport: rabbitmq({ url: required('AMQP_URL') }),
    close: () => pool.end(),
  }
})
