import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { serverAnswers } from '../postgres/database.ts'
import { rabbitIsHere } from '../rabbitmq/broker.ts'
import { axe, type Browser, browserIsHere, openBrowser, openPage, shotPath } from './browser.ts'
import { openShop, order, trade } from './shop.ts'

const here = browserIsHere() && (await serverAnswers()) && (await rabbitIsHere())

describe.skipIf(!here)('the page while the outbox cannot be counted', () => {
  let browser: Browser
  beforeAll(async () => {
    browser = await openBrowser()
  })
  afterAll(() => browser?.close())

  test('says so, keeps the last figures and every other page, and recovers by itself', async () => {
    await using shop = await openShop()
    await trade(shop)
    const { page, troubles } = await openPage(browser, shop.link, { expected: /503 \(/ })
    const panel = 'section[aria-label="shop"]'
    const dead = `${panel} .figure:has-text("Dead, outgoing") .figure-value`
    await page.waitForSelector(`${dead}:text-is("4")`)

    // As `VACUUM FULL` or a migration would; a relay that publishes does not need this table.
    const { schema } = shop.tables.shop
    const locking = await shop.tables.shop.newPool().connect()
    await locking.query(`begin; lock table ${schema}.dead in access exclusive mode`)
    try {
      await page.waitForSelector(`${panel} .notice.warn:has-text("did not answer in time")`)
      await page.waitForSelector(`${panel} .badge:text-is("slow")`)
      await page.waitForSelector(`${panel} >> text=The figures are those of`)
      expect(await page.innerText(dead)).toBe('4')
      await page.waitForSelector('section[aria-label="billing"] .badge:text-is("well")')
      await page.screenshot({ path: shotPath('slow'), fullPage: true })
      expect(await axe(page)).toEqual([])
      await page.reload()
      await page.waitForSelector(`${dead}:text-is("4")`)

      await page.click('nav >> text="Dead letters"')
      await page.waitForSelector('.notice.bad:has-text("did not answer in time")')
      await page.click('nav >> text="Pauses"')
      await page.fill('label:has-text("Name") input', 'default/queue/billing')
      await page.click('role=button[name="Pause …"]')
      await page.click('dialog >> role=button[name="Pause"]')
      await page.waitForSelector('tr:has-text("default/queue/billing")')
      await page.click('nav >> text="Overview"')
      await page.waitForSelector(`${panel} .figure:has-text("Paused") .figure-value:text-is("1")`)
      await page.click('nav >> text="Sagas"')
      await page.waitForSelector('tbody a:has-text("order-1")')
      // The relay goes on: what looks on holds up no message.
      await order(shop, 'order-9')
      await page.fill('label:has-text("Key") input', 'order-9')
      await page.click('role=button[name="Show"]')
      await page.waitForSelector('tbody a:has-text("order-9")')
    } finally {
      await locking.query('rollback')
      locking.release()
    }
    await page.click('nav >> text="Overview"')
    await page.waitForSelector(`${panel} .notice`, { state: 'detached' })
    await page.waitForSelector(`${panel} .badge:has-text("well")`)
    expect(troubles).toEqual([])
  })
})
