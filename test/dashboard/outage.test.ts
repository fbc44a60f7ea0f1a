import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { freePort } from '../postgres/cluster.ts'
import { serverAnswers } from '../postgres/database.ts'
import { rabbitIsHere } from '../rabbitmq/broker.ts'
import { axe, type Browser, browserIsHere, openBrowser, openPage, shotPath } from './browser.ts'
import { openShop, order, trade } from './shop.ts'

const here = browserIsHere() && (await serverAnswers()) && (await rabbitIsHere())

describe.skipIf(!here)('the page while servers are away', () => {
  let browser: Browser
  beforeAll(async () => {
    browser = await openBrowser()
  })
  afterAll(() => browser?.close())

  test('a broker that is away opens breakers, and a store says so, with old figures; both recover', async () => {
    await using shop = await openShop()
    await trade(shop)
    const { page, troubles } = await openPage(browser, shop.link, { expected: /5\d\d \(/ })
    const panel = 'section[aria-label="shop"]'
    const waiting = `${panel} .figure:has-text("Waiting") .figure-value`
    // Three timeouts, and what is held back.
    await page.waitForSelector(`${waiting}:text-is("4")`)

    const { rabbitmq, postgres } = shop.servers
    const ports = { rabbitmq: 5672, postgres: shop.postgresPort }
    rabbitmq.leadTo(await freePort())
    rabbitmq.reset()
    for (let n = 0; n < 40; n++) await order(shop, `late-${n}`)
    await page.waitForSelector(
      `${panel} .health li:has-text("breaker"):has-text("default/queue/shop")`,
    )
    await page.waitForSelector(`${waiting}:text-is("44")`)
    await page.screenshot({ path: shotPath('outage-broker'), fullPage: true })
    expect(await axe(page)).toEqual([])

    rabbitmq.leadTo(ports.rabbitmq)
    // Each of them is seen for a moment only, and who comes first is open.
    await Promise.all([
      page.waitForSelector(`${panel} .health li:has-text("breaker")`, { state: 'detached' }),
      page.waitForSelector(`${panel} .rate.left b:not(:text-is("0"))`),
    ])
    await page.screenshot({ path: shotPath('outage-recovering'), fullPage: true })

    postgres.leadTo(await freePort())
    postgres.reset()
    await page.waitForSelector(`${panel} .notice.bad:has-text("It does not answer")`)
    await page.waitForSelector(`${panel} >> text=The figures are those of`)
    expect(Number(await page.innerText(waiting))).toBeGreaterThan(0)
    await page.screenshot({ path: shotPath('outage-store'), fullPage: true })
    expect(await axe(page)).toEqual([])
    await page.click('nav >> text="Dead letters"')
    await page.waitForSelector('.notice.bad')
    postgres.leadTo(ports.postgres)
    await page.click('nav >> text="Overview"')
    await page.waitForSelector(`${panel} .notice`, { state: 'detached' })
    await page.waitForSelector(`${panel} .badge:has-text("well")`)
    expect(troubles).toEqual([])
  })
})
