import { existsSync } from 'node:fs'
import { userInfo } from 'node:os'
import { expect, test } from 'vitest'
import { brokerProblem } from '../../../scripts/servers/rabbitmq.ts'

/** Only root hands the server over to another user. */
const asRoot = userInfo().uid === 0

test.runIf(asRoot || !existsSync('/usr/lib/rabbitmq/bin/rabbitmqctl'))(
  'a machine on which a private broker cannot be started because a program is missing is told apart from one that has all',
  () => {
    // Neither rabbitmqctl nor runuser is there; without RabbitMQ itself, that is said first.
    const missing = /no (rabbitmqctl|runuser) in PATH \(\/nowhere\)|no RabbitMQ programs/
    expect(brokerProblem({ PATH: '/nowhere' })).toMatch(missing)
    expect(brokerProblem({})).toBeDefined()
  },
)
