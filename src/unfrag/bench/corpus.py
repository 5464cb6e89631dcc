"""Chinese and English text, made from a seed: the rig's tokenizer learns from it, the bench asks about it."""

from __future__ import annotations

import random

_ZH_WHO = [
    "客户",
    "供应商",
    "仓库",
    "门店",
    "质检组",
    "物流部",
    "客服",
    "财务部",
    "买家",
    "平台",
    "运营团队",
    "合作方",
    "配送员",
    "审核员",
]
_ZH_WHEN = [
    "本周",
    "上个月",
    "第三季度",
    "昨天下午",
    "促销期间",
    "春节之后",
    "凌晨两点",
    "合同到期前",
    "系统升级之后",
    "年中盘点时",
]
_ZH_WHAT = [
    "订单",
    "发票",
    "退货申请",
    "库存报表",
    "保修条款",
    "价格协议",
    "运输单据",
    "付款记录",
    "评价数据",
    "采购计划",
    "检测报告",
    "优惠券",
    "会员档案",
    "入库清单",
    "售后工单",
]
_ZH_DID = [
    "核对了",
    "提交了",
    "撤回了",
    "修改了",
    "归档了",
    "重新计算了",
    "延迟处理了",
    "抽样检查了",
    "汇总了",
    "公布了",
    "质疑了",
    "批准了",
]
_ZH_HOW = [
    "发现金额相差百分之{n}",
    "共计{n}件",
    "其中{n}件需要复查",
    "并在{n}小时内回复",
    "平均耗时{n}分钟",
    "编号为{n}的记录缺失",
    "涉及{n}个地区",
    "比去年同期增长{n}个百分点",
]
_ZH_ASK = [
    "请总结上文中{what}的主要问题。",
    "{who}在什么时候处理了{what}?请给出依据。",
    "文中提到的{what}一共涉及多少件?请逐条列出。",
    "如果{who}没有及时处理{what},会有什么后果?",
    "请把与{what}有关的时间线整理成表格。",
    "根据上文,{who}下一步应当做什么?",
]
_EN = [
    "The server holds the key value cache in blocks and every request keeps a list of them",
    "When the pool is full the scheduler preempts the newest request and computes it again later",
    "A prefix that was seen before is served from the cache without another prefill step",
    "Each expert layer routes a token to four of sixty four experts and adds their outputs",
    "Order {n} was shipped from warehouse {n} and invoice {n} is due within {n} days .",
]


def sentence(rng: random.Random) -> str:
    """One Chinese sentence of a business record."""
    how = rng.choice(_ZH_HOW).format(n=rng.randrange(2, 9999))
    return f"{rng.choice(_ZH_WHEN)}{rng.choice(_ZH_WHO)}{rng.choice(_ZH_DID)}{rng.choice(_ZH_WHAT)},{how}。"


def question(rng: random.Random) -> str:
    """One Chinese question about a record."""
    return rng.choice(_ZH_ASK).format(what=rng.choice(_ZH_WHAT), who=rng.choice(_ZH_WHO))


def corpus(seed: int, sentences: int) -> list[str]:
    """Lines to train a tokenizer on: three of Chinese to one of English."""
    rng = random.Random(seed)
    return [
        rng.choice(_EN).replace("{n}", str(rng.randrange(10, 9999))) + "." if i % 4 == 3 else sentence(rng)
        for i in range(sentences)
    ]
