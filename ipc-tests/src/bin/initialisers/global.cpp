// A global object whose constructor runs before `main`.

namespace {

struct Model {
    int value;

    // Volatile, so that no compiler knows the value beforehand.
    Model() {
        volatile int computed = 42;
        value = computed;
    }
};

Model model;

}

extern "C" int value_of_model() { return model.value; }
