from unfrag.server.vllm_plugins import with_unfrag


def test_unset_becomes_all_that_loaded_and_unfrag():
    names = with_unfrag(None).split(",")
    assert "unfrag" in names
    assert {"lora_filesystem_resolver", "lora_hf_hub_resolver"} <= set(names)


def test_what_was_named_stays_named_in_its_order():
    assert with_unfrag("b,a") == "b,a,unfrag"
    assert with_unfrag("unfrag,a") == "unfrag,a"
    assert with_unfrag("") == "unfrag"
