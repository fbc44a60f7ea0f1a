import { serverAnswers } from '../postgres/database.ts'
import { queueContract } from '../postgres/queue-contract.ts'

queueContract('PostgreSQL queue', { present: await serverAnswers() })
