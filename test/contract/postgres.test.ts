import { storeContract } from '../postgres/contract-suite.ts'
import { serverAnswers } from '../postgres/database.ts'

storeContract('postgres store', { present: await serverAnswers() })
