import { describe, expect, test } from 'vitest'
import { capacityOf } from '../../../src/sql/postgres/unit/unit-capacity.ts'
import { capacityOf as capacityOfMysql } from '../../../src/stores/mysql/unit/unit-of-work.ts'

describe('how a pool is used is told', () => {
  test('as pg counts it', () => {
    const pool = { options: { max: 9 }, totalCount: 5, idleCount: 2, waitingCount: 7 }
    expect(capacityOf(pool as never).use?.()).toEqual({ open: 5, idle: 2, waiting: 7 })
    expect(capacityOf({} as never).use?.()).toBeUndefined()
  })

  test('as mysql2 counts it', () => {
    const core = {
      config: { connectionConfig: {}, connectionLimit: 9 },
      promise() {},
      _allConnections: { length: 5 },
      _freeConnections: { length: 2 },
      _connectionQueue: { length: 7 },
    }
    expect(capacityOfMysql({ pool: core } as never).use?.()).toEqual({
      open: 5,
      idle: 2,
      waiting: 7,
    })
    expect(capacityOfMysql({} as never).use?.()).toBeUndefined()
  })
})
